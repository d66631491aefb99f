"""Test that a file holds exactly its record, and that the error for another content names the file and the fault."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
from pydantic import ConfigDict

from model.errors import InputError
from trainers.folder import Folder
from trainers.settings import LARGEST, STRICT, Count, read_record


@dataclass(frozen=True)
class Example:
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    count: Count
    shares: dict[str, float]


WHOLE = '{"name": "a", "count": 1, "shares": {"b": 0.5}}'
FAULTS = {
    "": "line 1: Expecting value",
    "[]": "Input should be an object",
    WHOLE[:-1]: "line 1",
    WHOLE * 2: "line 1: Extra data",
    "[" * 100_000: "its values are nested too deeply",
    WHOLE.replace("1", "9" * 5000): "a number has 5000 digits",
    WHOLE.replace("1", "9" * 100): "field 'count': Input should be less than or equal to",
    WHOLE.replace("1", "-1"): "field 'count': Input should be greater than or equal to 0",
    WHOLE.replace("1", "true"): "field 'count': Input should be a valid integer",
    WHOLE.replace("1", '"1"'): "field 'count': Input should be a valid integer",
    WHOLE.replace("1", "1.5"): "field 'count': Input should be a valid integer",
    WHOLE.replace("0.5", "NaN"): "NaN is no JSON number",
    WHOLE.replace("0.5", "1e999"): "the number 1e999 is too large",
    WHOLE.replace('"a"', "null"): "field 'name': Input should be a valid string",
    WHOLE.replace('"a"', r'"\ud800"'): "a string has half of a surrogate pair",
    WHOLE.replace('"name"', '"title"'): "field 'name': Field required",
    WHOLE.replace("{", '{"more": 1, ', 1): "field 'more': Unexpected keyword argument",
    WHOLE.replace("{", '{"count": 2, ', 1): "'count' occurs twice in one object",
}


def write(folder: Folder, text: str | bytes) -> None:
    folder.write("record.json", text)


def test_a_record_is_read_with_its_types(tmp_path):
    write(folder := Folder.at(tmp_path), WHOLE)
    assert read_record(folder, "record.json", Example, "Remedy.") == Example("a", 1, {"b": 0.5})
    assert read_record(folder, "record.json", dict, "Remedy.")["count"] == 1


@pytest.mark.parametrize(("text", "fault"), FAULTS.items(), ids=range(len(FAULTS)))
def test_another_content_is_an_error_of_one_line_with_file_fault_and_remedy(text: str, fault: str, tmp_path):
    write(folder := Folder.at(tmp_path), text)
    with pytest.raises(InputError) as raised:
        read_record(folder, "record.json", Example, "Do this.")
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}/record.json cannot be used: ") and message.endswith(". Do this.")
    assert fault in message and "\n" not in message and len(message) < 500


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    write(folder := Folder.at(tmp_path), WHOLE.encode() + b"\xff")
    with pytest.raises(InputError, match="byte 0xff is not UTF-8"):
        read_record(folder, "record.json", Example, "Do this.")


def test_a_missing_file_a_folder_and_an_absurdly_large_file_are_errors(tmp_path):
    folder = Folder.at(tmp_path)
    with pytest.raises(InputError, match=r"record.json is missing\. Do this\."):
        read_record(folder, "record.json", Example, "Do this.")
    with open(tmp_path / "record.json", "wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(InputError, match="it has more than 64 MiB"):
        read_record(folder, "record.json", Example, "Do this.")
    (tmp_path / "record.json").unlink()
    (tmp_path / "record.json").mkdir()
    with pytest.raises(InputError, match=r"record\.json is a folder, not a file"):
        read_record(folder, "record.json", Example, "Do this.")
