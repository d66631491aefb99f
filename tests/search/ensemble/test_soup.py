"""Test soups: which rounds are averaged, and that no cross-fitted choice sees the rows of its fold."""

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
from search.selection.candidates import Candidate, Candidates, kept_rounds, read_shortlisted, searched_tasks
from search.selection.cross_fitting import MASKS, row_masks
from tests.search.example_run import TASK_NAMES, ExampleTrial, candidate_file, example_run, trained_run
from tests.search.libraries import measured
from trainers.config.architecture import HeadConfig
from trainers.config.train_config import Stage, TrainConfig
from trainers.evaluation.predictions import read_predictions, write_predictions
from trainers.evaluation.scores import predictions, score
from trainers.tasks import TASKS
from trainers.training.checkpoint import read_weights

CONFIG = TrainConfig(stages=(Stage(passes=1),))
TRIALS = [ExampleTrial(number, skill=1.5 / 1.7 ** (6 - number)) for number in range(7)]
"""The mean of the best two trials scores higher than the best trial, the mean of the best five lower on most masks."""
FOLD = 2
"""The fold whose rows have other predictions in the fixture `changed_run`."""

Outputs = dict[str, np.ndarray]
"""Task -> outputs [rows, outputs]."""
Masks = dict[str, np.ndarray]
"""Task -> row masks [masks, rows]."""


@pytest.fixture(scope="module")
def run(tmp_path_factory, sample_corpus_directory):
    return example_run(tmp_path_factory.mktemp("runs") / "example", sample_corpus_directory, TRIALS)


@pytest.fixture(scope="module")
def changed_run(tmp_path_factory, sample_corpus_directory):
    """Write the same run; its three best trials have wrong predictions in the rows of one fold."""
    run = example_run(tmp_path_factory.mktemp("runs") / "changed", sample_corpus_directory, TRIALS)
    masks = masks_of(shortlisted(run))
    for trial in (4, 5, 6):
        for number in (1, 2, 3):
            for task in TASK_NAMES:
                place, name = candidate_file(run, trial, number, task)
                ids, outputs = read_predictions(place, name)
                write_predictions(place, name, ids, np.where(masks[task][1 + FOLD][:, None], outputs, -outputs))
    return run


def shortlisted(run: Run) -> dict[str, Candidates]:
    return read_shortlisted([run], kept_rounds([run]), measured([run], searched_tasks([run])))


def masks_of(candidates: dict[str, Candidates]) -> Masks:
    return {task: row_masks(found.library.labels, 0) for task, found in candidates.items()}


def outputs_of(run: Run, trial: int | None, number: int) -> Outputs:
    """Read the dev outputs of a round."""
    assert trial is not None
    return {task: read_predictions(*candidate_file(run, trial, number, task))[1] for task in TASK_NAMES}


def linear(run):
    """Return a starmap that evaluates a mean of weights as if models were linear: as the mean of their outputs."""

    def each(function, jobs):
        for _, rounds, ids in jobs:
            outputs = [outputs_of(run, trial, number) for trial, number in rounds]
            yield {task: np.mean([found[task] for found in outputs], axis=0) for task in ids}

    return each


def soups_of(run, method):
    """Return the soup of each row mask."""
    candidates, found = shortlisted(run), measured([run], searched_tasks([run]))
    return make_soups(method, run, found, WeightAverages(run, candidates, masks_of(candidates), linear(run)))


def ingredients(soups):
    """Return (trial, round) of the ingredients of each soup."""
    return [{(name.trial, name.round) for name in soup.ingredients} for soup in soups]


def scores_of(candidates: dict[str, Candidates], masks: Masks, outputs: Outputs) -> list[float]:
    """Return the score of outputs on the rows of each mask."""
    libraries = {task: found.library for task, found in candidates.items()}
    predicted = {task: predictions(library.task.kind, outputs[task]) for task, library in libraries.items()}

    def score_on(mask: int) -> float:
        rows = {task: found[mask] for task, found in masks.items()}
        metrics = {
            task: library.rows(rows[task]).metric(predicted[task][rows[task]]) for task, library in libraries.items()
        }
        return float(score(metrics, TASKS))

    return [score_on(mask) for mask in range(MASKS)]


def test_a_greedy_soup_is_never_below_its_best_ingredient_on_the_rows_of_its_selection(run):
    candidates = shortlisted(run)
    masks = masks_of(candidates)
    alone = [scores_of(candidates, masks, outputs_of(run, name.trial, name.round)) for name in kept_rounds([run])]
    for mask, soup in enumerate(soups_of(run, "greedy")):
        assert soup is not None
        best = max(scores[mask] for scores in alone)
        assert scores_of(candidates, masks, soup.outputs)[mask] >= best - 1e-9


@pytest.mark.parametrize("method", ["uniform", "greedy"])
def test_the_rows_of_a_fold_do_not_influence_the_soup_that_predicts_them(run, changed_run, method):
    before, after = ingredients(soups_of(run, method)), ingredients(soups_of(changed_run, method))
    assert after[1 + FOLD] == before[1 + FOLD]
    assert after != before


def test_a_uniform_soup_averages_the_best_rounds_of_the_best_trials(run):
    best = sorted(run.trials(), key=lambda trial: trial.best_row.score)[-MAX_INGREDIENTS:]
    expected = {Candidate(run.folder.uri, trial.number, trial.best_row.round) for trial in best}
    soup = soups_of(run, "uniform")[0]
    assert soup is not None
    assert soup.ingredients == expected


def test_rounds_of_a_single_trial_are_not_averaged(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "one", sample_corpus_directory, TRIALS[:1])
    for method in SOUPS:
        assert soups_of(run, method) == [None] * MASKS


def test_the_architecture_consists_of_the_fields_that_decide_the_meaning_of_weights():
    def changed(**fields):
        return architecture(CONFIG.model_copy(update=fields)) != architecture(CONFIG)

    assert not changed(dropout=0.3, head_dropout=0.2)
    assert not changed(stages=(Stage(passes=2, learning_rate=1e-3, batch_schedule="shuffle"),))
    assert changed(pooling="mean")
    assert changed(pairs="separate")
    assert changed(seed=1)
    assert changed(head={"sst": HeadConfig(hidden=(1.0,))})
    assert not changed(head={"sst": HeadConfig()})


def test_a_soup_is_stored_and_predicts_like_any_other_member(tmp_path, sample_corpus_directory):
    run = trained_run(tmp_path / "trained", sample_corpus_directory, seeds=(0, 0))
    arguments = ["trained", "--strategy", "uniform", "--soup", "uniform", "--storage", str(tmp_path)]
    done = typer.testing.CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    averaged = json.loads(run.folder.read("ensemble/metrics.json"))["soup"]
    assert [name["trial"] for name in averaged] == [0, 1]
    home = run.folder / "ensemble" / "soup"
    weights = read_weights(home / "checkpoints" / "00001")
    parts = [
        read_weights(run.trial_folder(name["trial"]) / "checkpoints" / f"{name['round']:05d}") for name in averaged
    ]
    for name, weight in weights.items():
        torch.testing.assert_close(weight, (parts[0][name] + parts[1][name]) / 2)
    for task in TASK_NAMES:
        member = next(member for member in read_ensemble(run).members[task] if member.trial is None)
        predicted = predict_member(member.run, member.trial, member.round, [task], home.uri)[task]["dev"]
        ids, outputs = read_predictions(home / "predictions", f"00001-{task}.parquet")
        place = {identifier: row for row, identifier in enumerate(run.corpus().splits[task]["dev"].ids)}
        np.testing.assert_allclose(predicted[[place[identifier] for identifier in ids]], outputs, atol=1e-5)


@pytest.mark.parametrize("method", SOUPS)
def test_trials_with_different_initial_heads_are_not_averaged(trained, method):
    assert soups_of(trained, method) == [None] * MASKS


def test_the_mean_of_one_round_with_itself_is_the_round(trained):
    alone = read_weights(trained.trial_folder(1) / "checkpoints" / "00002")
    for name, weight in mean_weights(trained, [(1, 2), (1, 2)]).items():
        torch.testing.assert_close(weight, alone[name], rtol=0, atol=0)


def test_single_task_models_and_a_soup_can_join_more_candidates_than_a_strategy_receives(
    tmp_path, sample_corpus_directory
):
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
    best_overall = chosen.estimates.score.best_single
    assert best_overall is not None
    assert (best_overall.candidate.trial, best_overall.candidate.round) == best[1:]
    best_of_sst = chosen.estimates.tasks["sst"].best_single
    assert best_of_sst is not None
    assert best_of_sst.candidate.run == single.folder.uri
