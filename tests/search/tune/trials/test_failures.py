"""Test that a line about a failure names the trial's log only if there is one."""

import errno
from pathlib import Path

import pytest

from search.tune.trials.failures import described, failure_line, write_log
from trainers.folder import Folder
from trainers.trial import ERROR


def test_a_log_that_was_written_is_named(tmp_path: Path):
    folder = Folder.at(tmp_path / "00003")
    write_log(folder, described(MemoryError()), 2)
    log = tmp_path / "00003" / ERROR
    assert failure_line(folder, "Correct it.", "it starts again") == f"Correct it; it starts again; see {log}"
    assert ", after round 2: MemoryError\n" in (tmp_path / "00003" / ERROR).read_text()


def test_a_log_that_a_full_disk_refuses_is_not_named_and_hides_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = Folder.at(tmp_path / "00003")
    monkeypatch.setattr(Folder, "write", full)
    write_log(folder, described(MemoryError()), 0)
    assert failure_line(folder, "MemoryError") == "MemoryError"
