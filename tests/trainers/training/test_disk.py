"""Test the check of disk space before a training."""

from pathlib import Path

import pytest

from model.errors import InputError
from trainers.fit.request import Request
from trainers.fit.run_fit import run_fit
from trainers.training import disk
from trainers.training.disk import as_text, check_room, free_bytes, used_bytes


def test_the_error_names_what_is_free_what_is_needed_and_each_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(disk, "free_bytes", lambda directory: 5 * 2**20)
    check_room(tmp_path / "run", {"weights": 3 * 2**20, "states": 2 * 2**20}, "Free some space.")
    with pytest.raises(InputError) as raised:
        check_room(tmp_path / "run", {"weights": 3 * 2**20, "states": 2 * 2**30}, "Free some space.")
    assert str(raised.value) == (
        f"{tmp_path}/run has 5 MiB of disk space, but may need 2.0 GiB: 3 MiB for weights, 2.0 GiB for states. "
        "Free some space."
    )


def test_files_that_are_there_already_count_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(disk, "free_bytes", lambda directory: 10)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "large").write_bytes(bytes(90))
    check_room(tmp_path, {"all": 100}, "")
    with pytest.raises(InputError):
        check_room(tmp_path, {"all": 101}, "")


def test_the_size_of_a_directory_does_not_follow_links(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "large").write_bytes(bytes(10**6))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "elsewhere" / "large")
    (tmp_path / "run" / "folder").symlink_to(tmp_path / "elsewhere")
    assert used_bytes(tmp_path / "run") < 1000
    assert used_bytes(tmp_path / "missing") == 0


def test_a_directory_that_does_not_exist_yet_has_the_free_space_of_its_disk(tmp_path: Path):
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(free_bytes(tmp_path), rel=0.1)


def test_sizes_are_shown_in_mib_and_gib():
    shown = [as_text(count) for count in (0, 3 * 2**20, 2**30, 1500 * 2**30)]
    assert shown == ["0 MiB", "3 MiB", "1.0 GiB", "1,500.0 GiB"]


def test_a_single_run_without_room_for_its_checkpoints_writes_nothing(
    tmp_path: Path, tiny_encoder: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(disk, "free_bytes", lambda directory: 2**10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        run_fit(Request("plain", "sample", 48, str(tiny_encoder), [], out, None, None, False))
    assert ended.value.code == 2 and not out.exists()
    error = capsys.readouterr().err
    assert f"{out} has 0 MiB of disk space, but may need" in error
    assert "Free some space, or pass another --out." in error
