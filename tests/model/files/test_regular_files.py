"""Test that only ordinary files are read."""

import os
from pathlib import Path

import pytest

from model.errors import InputError
from model.files.regular_files import read_file


def test_a_file_and_a_link_to_a_file_are_read(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "file") == read_file(tmp_path / "link") == b"content"


def test_a_pipe_a_device_and_a_folder_are_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "zero", tmp_path):
        with pytest.raises(InputError) as caught:
            read_file(path)
        assert str(caught.value) == f"Cannot read {path}: it is no ordinary file. Replace it by one."


def test_a_name_that_no_file_can_have_is_an_input_error(tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in {
        "gone": "No such file",
        "x" * 300: "too long",
        "a\0b": "null (byte|character)",
        "loop": "symbolic",
    }.items():
        with pytest.raises(InputError, match=f"Cannot read .*{reason}"):
            read_file(tmp_path / name)
