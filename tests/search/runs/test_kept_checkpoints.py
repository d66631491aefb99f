"""Test that the checkpoints that ended trials keep stay within their numbers, and that stopped trials continue."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from model.encoder import Pretrained
from search.runs.kept_checkpoints import KeptCheckpoints, ensemble_rounds, ensemble_trainings
from search.runs.run import Run
from search.runs.search_record import Reproduction
from search.runs.search_record import write_search as record
from search.runs.trial_record import Clone, Trial
from tests.conftest import outcome, small_config, small_stage
from tests.example_row import example_row
from tests.search.example_run import write_search
from trainers.data.corpus import Corpus
from trainers.folder import Folder
from trainers.methods.averaging import AveragingConfig
from trainers.recipes.registry import configs
from trainers.training.checkpoint import STATE, WEIGHTS
from trainers.trial import read_rows, run_trial

ROUNDS = 3


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return write_search(tmp_path / "run", sample_corpus_directory, tasks=("sst", "sts"), keep=4)


def ended(run: Run, number: int, value: float | None = None, *, state: str = "COMPLETE") -> Trial:
    """Write the checkpoints of a trial; a later round has a higher score and lower metrics."""
    folder, rows = run.trial_folder(number), []
    for round in range(1, ROUNDS + 1):
        place = number * ROUNDS + round
        rows.append(example_row(round, score=place / 100, metrics={"sst": -place, "sts": 1 / place}))
        for name in (WEIGHTS, STATE):
            (folder / "checkpoints" / f"{round:05d}").write(name, b"")
        folder.append_json("rounds.jsonl", rows[-1].to_json())
    return Trial(folder, number, {}, {}, state, [rows[-1].score if value is None else value], "its reason", rows)


def on_disk(run: Run, name: str = WEIGHTS) -> set[tuple[int, int]]:
    """Return (trial, round) of all checkpoints with a file."""
    assert run.folder.local
    files = list(run.folder.local.glob(f"trials/*/checkpoints/*/{name}"))
    return {(int(file.parts[-4]), int(file.parts[-2])) for file in files}


def test_after_each_trial_the_best_rounds_of_all_trials_are_kept_and_no_more_than_the_number(run: Run):
    weights = KeptCheckpoints(run, [])
    weights.clean_up(ended(run, 0))
    assert on_disk(run) == {(0, 1), (0, 2), (0, 3)}, "two by score, one by each metric"
    assert not on_disk(run, STATE)
    for number in range(1, 5):
        weights.clean_up(ended(run, number))
        assert on_disk(run) == {(0, 1), (number, 2), (number, 3)}


def test_a_resumed_run_with_a_lower_number_deletes_the_rest_at_once(run: Run):
    trials = [ended(run, number) for number in range(3)]
    weights = KeptCheckpoints(run, [])
    for trial in trials:
        weights.clean_up(trial)
    record(run.folder, run.search.replace(keep=1))
    KeptCheckpoints(Run(run.folder), trials)
    assert on_disk(run) == {(2, 3)}


def test_a_trial_that_adds_most_to_the_ensemble_has_a_share_of_its_own(run: Run):
    record(run.folder, run.search.replace(keep=2, objective=("ensemble",)))
    run = Run(run.folder)
    weights = KeptCheckpoints(run, [])
    for number, value in enumerate((0.1, 0.9, 0.2)):
        weights.clean_up(ended(run, number, value))
    assert on_disk(run) == {(1, 3), (2, 3)}, "the best round of the second trial, and the best score"


def test_a_run_without_a_recorded_number_keeps_ten_rounds_of_each_kind(run: Run):
    record(run.folder, run.search.replace(keep=None))
    run = Run(run.folder)
    weights = KeptCheckpoints(run, [])
    for number in range(12):
        weights.clean_up(ended(run, number))
    assert run.keep.count == 30
    assert len(on_disk(run)) == 20, "both metrics rank the rounds alike"


def test_the_best_stopped_trials_keep_the_full_state_of_their_newest_round(run: Run):
    record(run.folder, run.search.replace(keep=7))
    run = Run(run.folder)
    kept, trials = KeptCheckpoints(run, []), {}
    for number, expected in ((2, {2}), (1, {1, 2}), (5, {2, 5}), (0, {2, 5}), (4, {4, 5})):
        trials[number] = ended(run, number, state="PRUNED")
        kept.clean_up(trials[number])
        assert on_disk(run, STATE) == {(number, ROUNDS) for number in expected}
    best = run.keep.best({(number, row.round): row for number, trial in trials.items() for row in trial.rows})
    assert on_disk(run) == best | on_disk(run, STATE)
    before = on_disk(run)
    KeptCheckpoints(Run(run.folder), sorted(trials.values(), key=lambda trial: trial.number))
    assert (on_disk(run, STATE), on_disk(run)) == ({(4, ROUNDS), (5, ROUNDS)}, before), "a resume finds the same"
    record(run.folder, run.search.replace(keep=3))
    KeptCheckpoints(Run(run.folder), trials.values())
    assert on_disk(run, STATE) == {(5, ROUNDS)}, "a lower --keep deletes states"


def test_stopped_trials_are_ranked_by_the_objective_and_of_equals_the_first_number_stays(run: Run):
    record(run.folder, run.search.replace(keep=3, objective=("seconds",)))
    run = Run(run.folder)
    kept = KeptCheckpoints(run, [])
    for number in (2, 0, 1):
        kept.clean_up(ended(run, number, state="PRUNED"))
    assert on_disk(run, STATE) == {(0, ROUNDS)}, "all rounds take a second"


@pytest.mark.parametrize(
    ("state", "changed"),
    [("COMPLETE", {}), ("FAIL", {}), ("PRUNED", {"trial_scheduler": "population"}), ("PRUNED", {"keep": 2})],
)
def test_other_ended_trials_keep_no_full_state(run: Run, state: str, changed: dict[str, Any]):
    record(run.folder, run.search.replace(**{"keep": 7, **changed}))
    run = Run(run.folder)
    KeptCheckpoints(run, []).clean_up(ended(run, 0, state=state))
    assert on_disk(run) and not on_disk(run, STATE)


def test_a_stopped_trial_continues_to_the_bits_of_an_uninterrupted_one(
    run: Run, corpus: Corpus, pretrained: Pretrained, tmp_path: Path
):
    config = small_config(small_stage(rounds=4, steps=8), averaging=AveragingConfig(kind="ema"))
    whole, stopped = Folder.at(tmp_path / "whole"), run.trial_folder(0)
    rounds = [row.round for row in run_trial(whole, config, corpus, pretrained, dev_limit=12)]
    assert rounds == [1, 2, 3, 4]
    list(islice(run_trial(stopped, config, corpus, pretrained, dev_limit=12), 2))
    rows = read_rows(stopped)
    kept = KeptCheckpoints(run, [])
    kept.clean_up(Trial(stopped, 0, {}, {}, "PRUNED", None, "stopped early", rows))
    better = [replace(row, score=2.0, metrics=dict.fromkeys(row.metrics, 2.0)) for row in ended(run, 1).rows]
    kept.clean_up(Trial(run.trial_folder(1), 1, {}, {}, "COMPLETE", [2.0], "finished", better))
    assert {round for number, round in on_disk(run) if number == 0} == {2}, "its state needs the weights"
    rounds = [row.round for row in run_trial(stopped, config, corpus, pretrained, dev_limit=12)]
    assert rounds == [2, 3, 4], "the newest round is reported again, and no round is trained again"
    found, expected = outcome(stopped), outcome(whole)
    assert (found["rows"], found["predictions"]) == (expected["rows"], expected["predictions"])
    assert found["weights"]["00004"] == expected["weights"]["00004"]


def test_each_training_of_an_ensemble_of_recipes_keeps_its_best_round_of_each_task(run: Run, systems: None):
    own = Reproduction(recipes=("best", "other"), trained_as={name: name for name in configs("best")})
    assert (ensemble_trainings(own)["joint"], ensemble_rounds(own)) == (("sst", "qqp", "sts"), 6)
    record(run.folder, run.search.replace(reproduction=own))
    run = Run(run.folder)
    weights = KeptCheckpoints(run, [])
    for number, name in enumerate(("other", "other", "other", "joint")):
        weights.clean_up(replace(ended(run, number), params={"recipe": name, "seed": 0}))
    assert on_disk(run) == {(0, 1), (3, 1), (3, 3)}, "first trials have better metrics, and the last is a member"


def test_the_rounds_of_ensembles_stay_within_the_number(run: Run, systems: None):
    own = Reproduction(recipes=("best",), trained_as={name: name for name in configs("best")})
    record(run.folder, run.search.replace(reproduction=own, keep=2))
    weights = KeptCheckpoints(Run(run.folder), [])
    for number in range(3):
        weights.clean_up(replace(ended(run, number), params={"recipe": "joint", "seed": number}))
    assert on_disk(run) == {(0, 1), (1, 1)}


def test_the_state_of_a_stopped_trial_goes_when_the_trial_that_continues_it_has_ended(run: Run):
    record(run.folder, run.search.replace(keep=9))  # and the states of three stopped trials
    run = Run(run.folder)
    donors = [ended(run, number, state="PRUNED") for number in range(2)]
    weights = KeptCheckpoints(run, donors)
    assert on_disk(run, STATE) >= {(0, ROUNDS), (1, ROUNDS)}
    continuation = replace(ended(run, 2), clone=Clone(1, ROUNDS, 300, replaced=1))
    weights.clean_up(continuation)
    left = {place for place in on_disk(run, STATE) if place[1] == ROUNDS}
    assert left == {(0, ROUNDS)}
    assert {place for place in left if place[0] in KeptCheckpoints(run, [*donors, continuation]).stopped} == left
