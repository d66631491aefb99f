"""Test that `ensemble/members.json` is written and read, and that the run's directory can be moved."""

import pytest

from model.errors import InputError
from search.ensemble.members import Ensemble, Member, read_ensemble, write_ensemble
from search.runs.run import Run
from tests.search.example_run import write_search


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
