"""Test the contribution of a trial to the ensemble of earlier trials, by hand-computed values and on a written run."""

from dataclasses import replace

import numpy as np
import pytest

from search.selection.contribution import LIMIT, Contributions, contribution
from search.selection.cross_fitting import FOLDS, fold_numbers
from search.selection.library import Library
from tests.search.example_run import ExampleTrial, example_run, write_trial
from tests.search.libraries import TASK_OF_KIND, example_library
from trainers.tasks import TASKS

KINDS = tuple(TASK_OF_KIND)


def part(library, *numbers):
    """Return the library of some candidates."""
    return library.candidates(list(numbers))


@pytest.mark.parametrize("kind", KINDS)
def test_the_contribution_of_the_first_trial_is_its_advantage_over_a_constant_prediction(kind):
    library = example_library(kind, candidates=1, rows=100)
    if kind == "regression":
        folds = fold_numbers(library.labels, 0)
        expected = np.mean([library.rows(folds == fold).metrics[0] for fold in range(FOLDS)]) / 2
    else:
        expected = library.metrics[0] - np.bincount(library.labels.astype(int)).max() / 100
    assert contribution({"task": part(library)}, {"task": library}, 0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_without_predictions_contributes_nothing(kind):
    library = example_library(kind, candidates=5)
    assert contribution({"task": library}, {"task": part(library)}, 0) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_of_a_candidate_contributes_almost_nothing(kind):
    contributions = [
        contribution({"task": library}, {"task": part(library, library.ranking[place])}, 0)
        for library in (example_library(kind, candidates=8, rows=400, seed=seed) for seed in range(3))
        for place in (0, 3)
    ]
    assert np.abs(np.mean(contributions)) < 0.01


def test_a_trial_with_different_errors_contributes_more_than_a_better_trial_with_the_same_errors():
    labels, shared, own = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    present = Library(TASKS["sts"], (labels + shared)[None, :, None], labels)
    better = replace(present, predictions=(labels + 0.95 * shared)[None, :, None])  # the same errors, a little smaller
    complementary = replace(present, predictions=(labels + 1.2 * own)[None, :, None])
    assert complementary.metrics[0] < present.metrics[0] < better.metrics[0]
    of_better, of_complementary = (
        contribution({"task": present}, {"task": trial}, 0) for trial in (better, complementary)
    )
    assert 0 < of_better < 0.02
    assert of_complementary > 2 * of_better


def test_the_contribution_is_the_mean_over_tasks():
    libraries = {"a": example_library("binary", rows=80), "b": example_library("regression", rows=80, seed=1)}
    present = {task: part(library, 3, 4, 5) for task, library in libraries.items()}
    trial = {task: part(library, 0, 1) for task, library in libraries.items()}
    alone = [contribution({task: present[task]}, {task: trial[task]}, 7) for task in libraries]
    assert contribution(present, trial, 7) == pytest.approx(np.mean(alone))


def test_the_limit_on_candidates_never_removes_the_measured_trial():
    # All candidates are wrong in the same rows. The trial is right in these rows only, and by far the worst overall.
    labels = np.tile([0.0, 1.0], 100).astype(np.float32)
    values = labels + np.where(np.arange(200) < 100, 0, np.random.default_rng(0).normal(size=200) * 3)
    present = np.repeat(values[None, :, None], 2 * LIMIT, axis=0).astype(np.float32)
    values_of_trial = labels + np.where(np.arange(200) >= 100, 0, np.random.default_rng(1).normal(size=200) * 4)
    library = Library(TASKS["sts"], present, labels)
    trial = replace(library, predictions=values_of_trial.astype(np.float32)[None, :, None])
    assert trial.metrics[0] < library.metrics.min()
    assert contribution({"task": library}, {"task": trial}, 0) > 0


@pytest.fixture
def run(tmp_path, sample_corpus_directory):
    return example_run(tmp_path / "example", sample_corpus_directory)


def test_a_trial_is_compared_with_all_trials_that_ended_before_it(run):
    present = Contributions(run)
    write_trial(run, ExampleTrial(7, skill=2.0))
    contribution_of_7 = present.of(7)
    present.add(7)
    again = Contributions(run)
    write_trial(run, ExampleTrial(8, skill=0.01))
    assert present.of(8) == again.of(8) < contribution_of_7


def test_discarding_weak_candidates_changes_no_contribution(run, monkeypatch):
    for number in range(10, 21):
        write_trial(run, ExampleTrial(number, skill=0.1 * number - 0.5))
    unpruned = Contributions(run)
    monkeypatch.setattr("search.selection.contribution.PRUNE_ABOVE", 0)
    pruned = Contributions(run)
    write_trial(run, ExampleTrial(21, skill=1.6))
    assert pruned.of(21) == unpruned.of(21)
    assert all(len(library) < 3 * 11 for library in pruned.candidates.values())
