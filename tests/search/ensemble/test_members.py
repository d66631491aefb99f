"""Test that `ensemble/members.json` is written and read, and that the run's directory can be moved."""

import shlex
import sys

import pytest
from pyarrow import fs

from model.errors import InputError
from search.ensemble.members import Ensemble, Member, choose_command, read_ensemble, write_ensemble
from search.runs.run import Run
from tests.search.example_run import write_search
from trainers.folder import Folder


def test_the_members_of_a_moved_run_have_the_new_place_of_the_run(tmp_path, sample_corpus_directory):
    run = write_search(tmp_path / "before", sample_corpus_directory, tasks=["sts"])
    elsewhere = Member(f"{run.folder.uri}-other", 0, 1, 0.25)
    members = [Member(run.folder.uri, 1, 3, 0.75), elsewhere]
    write_ensemble(run, Ensemble("caruana", {"sts": "mean"}, {"sts": members}))
    (tmp_path / "before").rename(tmp_path / "after")
    moved = Run.open(str(tmp_path / "after"))
    assert read_ensemble(moved).members["sts"] == [Member(moved.folder.uri, 1, 3, 0.75), elsewhere]


def test_a_run_without_an_ensemble_is_an_error_that_names_the_command(tmp_path, sample_corpus_directory):
    run = write_search(tmp_path / "new", sample_corpus_directory)
    with pytest.raises(InputError, match=r"has no ensemble yet.*search\.ensemble"):
        read_ensemble(run)


def test_the_printed_command_is_that_of_the_script_and_hides_a_secret(monkeypatch):
    place = "s3://user:secret@bucket/it's a run"
    run = Run(Folder(fs.LocalFileSystem(), "/run", place))
    assert choose_command(run) == "python -m search.ensemble env:NAME"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/minbert-tune", "report"])
    assert choose_command(run) == "minbert-tune ensemble env:NAME"
    plain = Run(Folder.at("/runs/it's a run"))
    assert shlex.split(choose_command(plain)) == ["minbert-tune", "ensemble", "/runs/it's a run"]


WRONG = {
    "no JSON": ("{", "", "line "),
    "a weight of 0": ('"weight": 1.0', '"weight": 0.0', "weight"),
    "weights above 1": ('"weight": 1.0', '"weight": 0.5', "the weights of sts do not sum to 1"),
    "no such rule": ('"mean"', '"means"', "there is no rule 'means'"),
    "no member": ('"sts": [', '"sts": [], "qqp": [', "members.sts"),
    "another task": ('"sts"', '"xyz"', "the run's data have no task 'xyz'"),
    "a round that is text": ('"round": 1', '"round": "1"', "round"),
}


@pytest.mark.parametrize(("old", "new", "fault"), WRONG.values(), ids=WRONG)
def test_the_error_for_a_damaged_file_names_the_fault_and_the_command(
    tmp_path, sample_corpus_directory, old, new, fault
):
    run = write_search(tmp_path / "run", sample_corpus_directory)
    write_ensemble(run, Ensemble("caruana", {"sts": "mean"}, {"sts": [Member(run.folder.uri, 0, 1, 1.0)]}))
    text = run.folder.read("ensemble/members.json").decode()
    assert old in text
    run.folder.write("ensemble/members.json", text.replace(old, new))
    with pytest.raises(InputError) as raised:
        read_ensemble(run)
    message = str(raised.value)
    assert message.startswith(f"{run.folder}/ensemble/members.json cannot be used: ") and fault in message
    assert message.endswith(f"Choose the ensemble again: python -m search.ensemble {run.folder}")
