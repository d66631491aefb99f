"""Runs on tasks that their data declare: candidates, ensemble, prediction files, report; and what cannot be joined."""

from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from search.ensemble.build import write
from search.ensemble.choose import Chosen, choose
from search.ensemble.predict import predict_members
from search.report.page import render
from search.runs.run import Run
from search.selection.candidates import searched_tasks
from tests.search.example_run import ExampleTrial, candidate_file, example_run, tokenizer
from tests.search.libraries import shortlisted
from tests.trainers.user_data import USER_TASKS, declarations, labels_of, write_user_data
from trainers.data.declared_tasks import RESERVED_NAMES
from trainers.data.prepare import prepare
from trainers.evaluation.predictions import read_predictions
from trainers.tasks import TASKS

NAMES = tuple(USER_TASKS)


def user_run(place: Path, names: tuple[str, ...] = NAMES, **changes: object) -> Run:
    """Write a run that was searched for `names` on a directory of the user's, some of its declarations changed."""
    place.mkdir()
    source = str(write_user_data(place / "data", **changes))
    corpus, _ = prepare(source, tokenizer(), rows=None, seed=0, cache=place)
    return example_run(place / "run", corpus, [ExampleTrial(0, tasks=names, skill=2.0)], tasks=names, data=source)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return user_run(tmp_path_factory.mktemp("runs") / "example")


@pytest.fixture(scope="module")
def chosen(run) -> Chosen:
    return choose([run])


def test_candidates_are_scored_by_the_kind_that_the_data_declare(run):
    assert list(searched_tasks([run])) == list(run.tasks) == list(NAMES)
    for name, found in shortlisted([run], searched_tasks([run])).items():
        assert found.library.kind == USER_TASKS[name][0]
        np.testing.assert_allclose(found.library.metrics, [row.metrics[name] for row in run.trials()[0].rows])


def test_an_ensemble_predicts_and_its_files_hold_the_labels_of_the_users_files(run, chosen):
    assert list(chosen.estimates.rows) == list(NAMES)

    def from_files(function, jobs):
        """Return what the members said of dev in training, and of no test row."""
        for _, number, round, tasks in jobs:
            dev = {task: read_predictions(*candidate_file(run, number, round, task))[1] for task in tasks}
            yield {task: {"dev": outputs, "test": outputs[:4]} for task, outputs in dev.items()}

    metrics = predict_members(run, chosen.ensemble, from_files)
    for name in NAMES:
        lines = run.folder.read(f"ensemble/predictions/{name}-dev-output.csv").decode().splitlines()
        values, labels = [float(line.split(" , ")[1]) for line in lines[1:]], labels_of(name, 10)
        right = USER_TASKS[name][0] == "regression" or np.equal(values, labels).mean() == pytest.approx(metrics[name])
        assert right and USER_TASKS[name][1] <= min(values) <= max(values) <= USER_TASKS[name][2]
    write(run, chosen)
    text = render(run)
    assert "stars: accuracy" in text and "mood: Pearson r" in text and "plain mean 0." in text


def test_what_stands_beside_the_tasks_in_tables_and_records_can_name_no_task(run, chosen):
    write(run, chosen)
    beside = {*run.table().columns, *run.folder.read_json("ensemble/metrics.json")} - set(NAMES)
    assert {name for name in beside if "." not in name} <= RESERVED_NAMES


def test_runs_that_declare_different_tasks_under_one_name_are_not_joined(run, tmp_path):
    other = user_run(tmp_path / "other", nli=declarations()["nli"] | {"high": 3})
    with pytest.raises(InputError, match=f"Task 'nli' is declared one way in {run.folder} and another way in"):
        choose([run, other])
    unsearched = user_run(tmp_path / "unsearched", ("mood",), nli=declarations()["nli"] | {"high": 3})
    assert list(choose([run, unsearched]).ensemble.members) == list(NAMES)


def test_the_first_run_must_have_the_rows_that_the_ensemble_predicts(run, tmp_path, sample_corpus_directory):
    sample = example_run(tmp_path / "sample", sample_corpus_directory)
    with pytest.raises(InputError, match=f"{sample.folder} has no rows of task 'stars'. Name {run.folder} first"):
        choose([sample, run])


def test_the_tasks_of_a_run_are_read_without_its_rows(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "sample", sample_corpus_directory)
    for name in (run.folder / "corpus").names():
        if name.endswith(".arrow"):
            (run.folder / "corpus").delete(name)
    assert run.tasks == TASKS
