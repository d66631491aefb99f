"""Test that the weights that ended trials keep stay within the number of rounds that a run may keep."""

from pathlib import Path

import pytest

from search.runs.kept_weights import KeptWeights
from search.runs.run import Run
from search.runs.search_record import write_search as record
from search.runs.trial_record import Trial
from tests.example_row import example_row
from tests.search.example_run import write_search

ROUNDS = 3


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return write_search(tmp_path / "run", sample_corpus_directory, tasks=("sst", "sts"), keep=4)


def ended(run: Run, number: int, value: float | None = None) -> Trial:
    """Write the checkpoints of a trial; a later round has a higher score and lower metrics."""
    folder, rows = run.trial_folder(number), []
    for round in range(1, ROUNDS + 1):
        place = number * ROUNDS + round
        rows.append(example_row(round, score=place / 100, metrics={"sst": -place, "sts": 1 / place}))
        for name in ("weights.safetensors", "state.pt"):
            (folder / "checkpoints" / f"{round:05d}").write(name, b"")
        folder.append_json("rounds.jsonl", rows[-1].to_json())
    return Trial(folder, number, {}, {}, "COMPLETE", [rows[-1].score if value is None else value], "finished", rows)


def on_disk(run: Run) -> set[tuple[int, int]]:
    """Return (trial, round) of all checkpoints; none of them may hold a training state."""
    assert run.folder.local
    files = list(run.folder.local.glob("trials/*/checkpoints/*/*"))
    assert {file.name for file in files} <= {"weights.safetensors"}
    return {(int(file.parts[-4]), int(file.parts[-2])) for file in files}


def test_after_each_trial_the_best_rounds_of_all_trials_are_kept_and_no_more_than_the_number(run: Run):
    weights = KeptWeights(run, [])
    weights.clean_up(ended(run, 0))
    assert on_disk(run) == {(0, 1), (0, 2), (0, 3)}, "two by score, one by each metric"
    for number in range(1, 5):
        weights.clean_up(ended(run, number))
        assert on_disk(run) == {(0, 1), (number, 2), (number, 3)}


def test_a_resumed_run_with_a_lower_number_deletes_the_rest_at_once(run: Run):
    trials = [ended(run, number) for number in range(3)]
    weights = KeptWeights(run, [])
    for trial in trials:
        weights.clean_up(trial)
    record(run.folder, run.search.replace(keep=1))
    KeptWeights(Run(run.folder), trials)
    assert on_disk(run) == {(2, 3)}


def test_a_trial_that_adds_most_to_the_ensemble_has_a_share_of_its_own(run: Run):
    record(run.folder, run.search.replace(keep=2, objective=("ensemble",)))
    run = Run(run.folder)
    weights = KeptWeights(run, [])
    for number, value in enumerate((0.1, 0.9, 0.2)):
        weights.clean_up(ended(run, number, value))
    assert on_disk(run) == {(1, 3), (2, 3)}, "the best round of the second trial, and the best score"


def test_a_run_without_a_recorded_number_keeps_ten_rounds_of_each_kind(run: Run):
    record(run.folder, run.search.replace(keep=None))
    run = Run(run.folder)
    weights = KeptWeights(run, [])
    for number in range(12):
        weights.clean_up(ended(run, number))
    assert run.keep.count == 30
    assert len(on_disk(run)) == 20, "both metrics rank the rounds alike"
