"""The record of a search: what `search.json` holds, and files that this version cannot read."""

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
def test_a_record_is_read_as_it_was_written(record: SearchRecord, tmp_path: Path):
    write_search(Folder.at(tmp_path), record)
    assert read_search(Folder.at(tmp_path)) == record


def test_the_file_is_flat_and_holds_only_the_settings_of_its_command(tmp_path: Path):
    found = {}
    for name, record in RECORDS.items():
        write_search(Folder.at(tmp_path), record)
        found[name] = json.loads((tmp_path / SEARCH).read_text())
    assert found["search"].keys() - found["reproduction"].keys() == {"precision"}
    assert found["reproduction"].keys() - found["search"].keys() == {*Reproduction.model_fields}
    assert found["reproduction"]["recipes"] == ["a", "b"]


OTHERS = {
    "an unknown field": ('"name": ', '"title": "", "name": ', "field 'title': Extra inputs are not permitted"),
    "a missing field": ('"name": "example",', "", "field 'name': Field required"),
    "another type": ('"dev_rows": 1200', '"dev_rows": "all"', "field 'dev_rows': Input should be a valid integer"),
    "no JSON": ("{", "", ""),
    "no object": ("{", "[], {", ""),
}


@pytest.mark.parametrize(("old", "new", "fault"), OTHERS.values(), ids=OTHERS)
def test_a_file_of_another_version_is_refused_in_one_sentence(old: str, new: str, fault: str, tmp_path: Path):
    write_search(Folder.at(tmp_path), RECORDS["search"])
    text = (tmp_path / SEARCH).read_text()
    (tmp_path / SEARCH).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        Run(Folder.at(tmp_path)).search  # noqa: B018, reading is what is tested
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}/{SEARCH} was edited or written by another version of this project: ")
    assert fault in message and "\n" not in message


def test_only_the_settings_that_were_given_are_compared_with_a_run():
    requested = RequestedSettings(rows=64, reproduction=Reproduction(seeds=1))
    assert requested.flat(given=True) == {"rows": 64, "seeds": 1}


def test_a_search_has_no_settings_of_a_reproduction(tmp_path: Path):
    write_search(Folder.at(tmp_path), RECORDS["search"])
    with pytest.raises(InputError, match=r"is a search, not a reproduction .* Resume it with search.launch"):
        Run(Folder.at(tmp_path)).reproduction  # noqa: B018, reading is what is tested
