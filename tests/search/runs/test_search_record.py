"""Test that `search.json` is written and read without loss, and the errors for files that cannot be read."""

import json
from pathlib import Path

import pytest

from model.errors import InputError
from search.runs.run import Run
from search.runs.search_record import (
    SEARCH,
    Reproduction,
    RequestedSettings,
    SearchRecord,
    read_search,
    write_search,
)
from tests.search.example_run import example_search
from trainers.folder import Folder

RECORDS = {
    "search": example_search(precision="bfloat16", objective=("sst", "seconds"), warm_start=("first",)),
    "reproduction": example_search(reproduction=Reproduction(recipes=("a", "b"), seeds=2, trained_as={"b": "a"})),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_written_record_is_read_back_unchanged(record: SearchRecord, tmp_path: Path):
    write_search(Folder.at(tmp_path), record)
    assert read_search(Folder.at(tmp_path)) == record


def test_the_file_is_flat_and_has_only_the_settings_of_its_command(tmp_path: Path):
    contents = {}
    for name, record in RECORDS.items():
        write_search(Folder.at(tmp_path), record)
        contents[name] = json.loads((tmp_path / SEARCH).read_text())
    assert contents["search"].keys() - contents["reproduction"].keys() == {"precision"}
    assert contents["reproduction"].keys() - contents["search"].keys() == {*Reproduction.model_fields}
    assert contents["reproduction"]["recipes"] == ["a", "b"]


INVALID = {
    "an unknown field": ('"name": ', '"title": "", "name": ', "field 'title': Extra inputs are not permitted"),
    "a missing field": ('"name": "example",', "", "field 'name': Field required"),
    "another type": ('"dev_rows": 1200', '"dev_rows": "all"', "field 'dev_rows': Input should be a valid integer"),
    "invalid JSON": ("{", "", ""),
    "two JSON values": ("{", "[], {", ""),
}


@pytest.mark.parametrize(("old", "new", "fault"), INVALID.values(), ids=INVALID)
def test_the_error_for_a_file_of_another_version_names_the_fault_on_one_line(
    old: str, new: str, fault: str, tmp_path: Path
):
    write_search(Folder.at(tmp_path), RECORDS["search"])
    text = (tmp_path / SEARCH).read_text()
    (tmp_path / SEARCH).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        Run(Folder.at(tmp_path)).search  # noqa: B018, the property raises
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}/{SEARCH} was edited or written by another version of this project: ")
    assert fault in message and "\n" not in message


def test_only_settings_that_were_given_are_compared_with_those_of_a_run():
    requested = RequestedSettings(rows=64, reproduction=Reproduction(seeds=1))
    assert requested.flat(given=True) == {"rows": 64, "seeds": 1}


def test_resuming_a_search_as_a_reproduction_is_an_error(tmp_path: Path):
    write_search(Folder.at(tmp_path), RECORDS["search"])
    with pytest.raises(InputError, match=r"is a search, not a reproduction .* Resume it with search.launch"):
        Run(Folder.at(tmp_path)).reproduction  # noqa: B018, the property raises
