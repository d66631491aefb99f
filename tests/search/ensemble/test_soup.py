"""Means of weights: what goes in, and what no fold may see."""

import json

import numpy as np
import pytest
import torch
import typer.testing

from search.ensemble.__main__ import app
from search.ensemble.choose import choose
from search.ensemble.members import read_ensemble
from search.ensemble.predict import predict_member
from search.ensemble.soup import MAX_INGREDIENTS, SOUPS, WeightAverages, architecture, make_soups, mean_weights
from search.runs.run import Run
from search.selection.candidates import Candidate, kept_rounds, searched_tasks
from search.selection.cross_fitting import FOLDS, row_masks
from tests.search.example_run import TASK_NAMES, ExampleTrial, candidate_file, example_run, trained_run
from tests.search.libraries import measured, shortlisted
from trainers.config.architecture import HeadConfig
from trainers.config.train_config import Stage, TrainConfig
from trainers.evaluation.predictions import read_predictions, write_predictions
from trainers.evaluation.scores import predictions, score
from trainers.training.checkpoint import read_weights

CONFIG = TrainConfig(stages=(Stage(passes=1),))
TRIALS = [ExampleTrial(number, skill=1 + 0.05 * number) for number in range(7)]


@pytest.fixture
def run(tmp_path, sample_corpus_directory):
    return example_run(tmp_path / "example", sample_corpus_directory, TRIALS)


def outputs_of(run: Run, trial: int | None, number: int, task: str) -> np.ndarray:
    assert trial is not None
    return read_predictions(*candidate_file(run, trial, number, task))[1]


def linear(run):
    """Evaluate means of weights as if models were linear: the outputs of a mean are the mean of the outputs."""

    def each(function, jobs):
        for _, rounds, ids in jobs:
            yield {
                task: np.mean([outputs_of(run, trial, number, task) for trial, number in rounds], axis=0)
                for task in ids
            }

    return each


def soups_of(run, recipe):
    tasks = searched_tasks([run])
    candidates = shortlisted([run], tasks)
    seen = {task: row_masks(found.library.labels, 0) for task, found in candidates.items()}
    averages = WeightAverages(run, candidates, seen, linear(run))
    return make_soups(recipe, run, measured([run], tasks), averages)


def ingredients(soups):
    return [soup.ingredients for soup in soups]


def worth(run, outputs, rows):
    """Return the score of outputs on some rows: task -> a mask."""
    libraries = {task: found.library for task, found in shortlisted([run], searched_tasks([run])).items()}
    metrics = {
        task: found.rows(rows[task]).metric(predictions(found.kind, outputs[task])[rows[task]])
        for task, found in libraries.items()
    }
    return score(metrics, libraries)


def seen_rows(run):
    """List what each view sees: task -> a mask."""
    candidates = shortlisted([run], searched_tasks([run]))
    seen = {task: row_masks(found.library.labels, 0) for task, found in candidates.items()}
    return [dict(zip(seen, masks, strict=True)) for masks in zip(*seen.values(), strict=True)]


def test_a_greedy_soup_is_never_below_its_best_ingredient_on_what_it_was_chosen_on(run):
    for soup, rows in zip(soups_of(run, "greedy"), seen_rows(run), strict=True):
        alone = [
            worth(run, {task: outputs_of(run, found.trial, found.round, task) for task in rows}, rows)
            for found in kept_rounds([run])
        ]
        assert soup is not None
        assert worth(run, soup.outputs, rows) >= max(alone) - 1e-9


@pytest.mark.parametrize("recipe", ["uniform", "greedy"])
def test_a_fold_has_no_part_in_the_soup_that_predicts_it(run, recipe):
    fold = 2
    before = soups_of(run, recipe)
    for trial in (4, 5, 6):
        for number in (1, 2, 3):
            for task, rows in seen_rows(run)[1 + fold].items():
                place, name = candidate_file(run, trial, number, task)
                ids, outputs = read_predictions(place, name)
                write_predictions(place, name, ids, np.where(rows[:, None], outputs, -outputs))
    after = soups_of(run, recipe)
    assert ingredients(after)[1 + fold] == ingredients(before)[1 + fold]
    assert ingredients(after) != ingredients(before)


def test_a_uniform_soup_is_of_the_best_rounds_of_the_best_trials(run):
    best = sorted(run.trials(), key=lambda trial: trial.best_row.score)[-MAX_INGREDIENTS:]
    expected = {Candidate(run.folder.uri, trial.number, trial.best_row.round) for trial in best}
    assert ingredients(soups_of(run, "uniform"))[0] == expected


def test_rounds_of_one_trial_are_no_soup(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "one", sample_corpus_directory, TRIALS[:1])
    for recipe in SOUPS:
        assert soups_of(run, recipe) == [None] * (1 + FOLDS)


def test_only_what_decides_the_meaning_of_weights_is_architecture():
    def changed(**fields):
        return architecture(CONFIG.model_copy(update=fields)) != architecture(CONFIG)

    assert not changed(dropout=0.3, head_dropout=0.2)
    assert not changed(stages=(Stage(passes=2, learning_rate=1e-3, batch_schedule="shuffle"),))
    assert changed(pooling="mean")
    assert changed(pairs="separate")
    assert changed(seed=1)
    assert changed(head={"sst": HeadConfig(hidden=(1.0,))})
    assert not changed(head={"sst": HeadConfig()})


@pytest.mark.usefixtures("one_thread")
def test_a_soup_is_a_member_like_any_other(tmp_path, sample_corpus_directory):
    run = trained_run(tmp_path / "trained", sample_corpus_directory, seeds=(0, 0))
    asked = ["trained", "--strategy", "uniform", "--soup", "uniform", "--storage", str(tmp_path)]
    done = typer.testing.CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    made = json.loads(run.folder.read("ensemble/metrics.json"))["soup"]
    assert [name["trial"] for name in made] == [0, 1]
    home = run.folder / "ensemble" / "soup"
    weights = read_weights(home / "checkpoints" / "00001")
    parts = [read_weights(run.trial_folder(name["trial"]) / "checkpoints" / f"{name['round']:05d}") for name in made]
    for name, weight in weights.items():
        torch.testing.assert_close(weight, (parts[0][name] + parts[1][name]) / 2)
    for task in TASK_NAMES:
        member = next(member for member in read_ensemble(run).members[task] if member.trial is None)
        found = predict_member(member.run, member.trial, member.round, [task])[task]["dev"]
        ids, outputs = read_predictions(home / "predictions", f"00001-{task}.parquet")
        place = {identifier: row for row, identifier in enumerate(run.corpus().splits[task]["dev"].ids)}
        np.testing.assert_allclose(found[[place[identifier] for identifier in ids]], outputs, atol=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_trials_from_different_starts_are_not_averaged(tmp_path, sample_corpus_directory):
    run = trained_run(tmp_path / "trained", sample_corpus_directory)
    assert choose([run], soup="uniform").soup is None


def test_a_mean_of_one_round_is_the_round(tmp_path, sample_corpus_directory):
    run = trained_run(tmp_path / "trained", sample_corpus_directory)
    alone = read_weights(run.trial_folder(1) / "checkpoints" / "00002")
    for name, weight in mean_weights(run, [(1, 2), (1, 2)]).items():
        torch.testing.assert_close(weight, alone[name], rtol=0, atol=0)


def test_single_task_models_and_a_soup_join_more_trials_than_a_selection_sees(tmp_path, sample_corpus_directory):
    many = [ExampleTrial(number, rounds=9, skill=0.5 + 0.1 * number) for number in range(12)]
    joint = example_run(tmp_path / "joint", sample_corpus_directory, many)
    expert = ExampleTrial(0, skill=9.0, tasks=("sst",))
    single = example_run(tmp_path / "expert", sample_corpus_directory, [expert], tasks=["sst"])
    chosen = choose([joint, single], "uniform", soup="greedy", starmap=linear(joint))
    assert chosen.estimates.candidates == {"sst": 111, "qqp": 108, "sts": 108}
    members = chosen.ensemble.members
    assert {task: len(found) for task, found in members.items()} == dict.fromkeys(TASK_NAMES, 100)
    assert {member.run for member in members["sst"]} == {joint.folder.uri, single.folder.uri}
    assert any(member.trial is None for member in members["qqp"])
    best = max((row.score, trial.number, row.round) for trial in joint.trials() for row in trial.rows)
    best_single = chosen.estimates.score.best_single
    assert best_single is not None
    assert (best_single.candidate.trial, best_single.candidate.round) == best[1:]
    best_of_sst = chosen.estimates.tasks["sst"].best_single
    assert best_of_sst is not None
    assert best_of_sst.candidate.run == single.folder.uri
