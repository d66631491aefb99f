"""Test that files and directories appear complete or not at all."""

from pathlib import Path

import pytest

from model.whole_files import PARTIAL, partial_name, whole_directory, whole_file


def test_a_file_appears_when_the_block_ends(tmp_path: Path):
    with whole_file(tmp_path / "a", sync=True) as file:
        file.write(b"half")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"half"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_interrupted_file_leaves_the_old_content_and_no_partial_file(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a", sync=False) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_directory_appears_when_the_block_ends(tmp_path: Path):
    target = tmp_path / "cache" / "key"
    with whole_directory(target) as partial:
        (partial / "a").write_bytes(b"content")
        assert not target.exists()
    assert (target / "a").read_bytes() == b"content"
    assert list(target.parent.iterdir()) == [target]
    (tmp_path / "ordinary").mkdir()
    assert target.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_an_interrupted_directory_leaves_nothing(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), whole_directory(tmp_path / "key") as partial:
        (partial / "a").write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_several_equal_directories_is_kept(tmp_path: Path):
    with whole_directory(tmp_path / "key") as second, whole_directory(tmp_path / "key") as first:
        for partial, content in ((first, b"first"), (second, b"second")):
            (partial / "a").write_bytes(content)
    assert (tmp_path / "key" / "a").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_directory_that_cannot_be_renamed_is_an_error(tmp_path: Path):
    with pytest.raises(OSError), whole_directory(tmp_path / "key") as partial:
        partial.rmdir()


def test_the_names_of_partial_files_cannot_be_guessed():
    names = {partial_name("a") for _ in range(10)}
    assert len(names) == 10 and all(PARTIAL.fullmatch(name) for name in names)
