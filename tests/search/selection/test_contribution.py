"""What a trial adds to the ensemble of those before it, worked out by hand and on a written run."""

from dataclasses import replace

import numpy as np
import pytest

from search.selection.contribution import LIMIT, Contributions, contribution
from search.selection.library import Library
from tests.search.example_run import ExampleTrial, example_run, write_trial
from tests.search.libraries import library
from trainers.evaluation.scores import METRICS

KINDS = tuple(METRICS)


def part(found, *numbers):
    return found.candidates(list(numbers))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_trial_adds_what_it_is_better_than_a_constant(kind):
    found = library(kind, candidates=1, rows=100)
    if kind == "regression":
        expected = found.metrics[0] / 2
    else:
        expected = found.metrics[0] - np.bincount(found.labels.astype(int)).max() / 100
    assert contribution({"task": part(found)}, {"task": found}, 0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_without_predictions_adds_nothing(kind):
    found = library(kind, candidates=5)
    assert contribution({"task": found}, {"task": part(found)}, 0) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_adds_next_to_nothing(kind):
    added = [
        contribution({"task": found}, {"task": part(found, found.ranking[place])}, 0)
        for found in (library(kind, candidates=8, rows=400, seed=seed) for seed in range(3))
        for place in (0, 3)
    ]
    assert np.abs(np.mean(added)) < 0.01


def test_who_is_right_where_others_are_wrong_adds_more_than_who_is_better():
    labels, shared, own = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    present = Library("regression", (labels + shared)[None, :, None], labels)
    better = replace(present, predictions=(labels + 0.95 * shared)[None, :, None])  # the same errors, a little smaller
    complementary = replace(present, predictions=(labels + 1.2 * own)[None, :, None])
    assert complementary.metrics[0] < present.metrics[0] < better.metrics[0]
    redundant, welcome = (contribution({"task": present}, {"task": trial}, 0) for trial in (better, complementary))
    assert 0 < redundant < 0.02
    assert welcome > 2 * redundant


def test_what_tasks_add_is_averaged_and_r_counts_half():
    found = {"a": library("binary", rows=80), "b": library("regression", rows=80, seed=1)}
    present = {task: part(each, 3, 4, 5) for task, each in found.items()}
    trial = {task: part(each, 0, 1) for task, each in found.items()}
    alone = [contribution({task: present[task]}, {task: trial[task]}, 7) for task in found]
    assert contribution(present, trial, 7) == pytest.approx(np.mean(alone))


def test_a_weak_trial_is_not_cut_before_it_is_heard():
    # All but one are wrong in the same rows; that one knows these alone, and is the worst by far.
    labels = np.tile([0.0, 1.0], 100).astype(np.float32)
    values = labels + np.where(np.arange(200) < 100, 0, np.random.default_rng(0).normal(size=200) * 3)
    present = np.repeat(values[None, :, None], 2 * LIMIT, axis=0).astype(np.float32)
    other = labels + np.where(np.arange(200) >= 100, 0, np.random.default_rng(1).normal(size=200) * 4)
    found = Library("regression", present, labels)
    trial = replace(found, predictions=other.astype(np.float32)[None, :, None])
    assert trial.metrics[0] < found.metrics.min()
    assert contribution({"task": found}, {"task": trial}, 0) > 0


@pytest.fixture
def run(tmp_path, sample_corpus_directory):
    return example_run(tmp_path / "example", sample_corpus_directory)


def test_a_trial_is_measured_against_all_that_ended_before(run):
    present = Contributions(run)
    write_trial(run, ExampleTrial(7, skill=2.0))
    added = present.of(7)
    present.add(7)
    again = Contributions(run)
    write_trial(run, ExampleTrial(8, skill=0.01))
    assert present.of(8) == again.of(8) < added


def test_what_is_forgotten_changes_nothing(run, monkeypatch):
    for number in range(10, 21):
        write_trial(run, ExampleTrial(number, skill=0.1 * number - 0.5))
    whole = Contributions(run)
    monkeypatch.setattr("search.selection.contribution.PRUNE_ABOVE", 0)
    forgetful = Contributions(run)
    write_trial(run, ExampleTrial(21, skill=1.6))
    assert forgetful.of(21) == whole.of(21)
    assert all(len(found) < 3 * 11 for found in forgetful.candidates.values())
