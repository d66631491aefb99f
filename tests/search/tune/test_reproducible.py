"""Test that a search with one trial at a time depends only on its seed, even if it is interrupted."""

from pathlib import Path
from typing import Any

import pytest

from search.runs.run import Run
from search.runs.study import opened_study
from search.suggest.samplers import SAMPLERS
from tests.search.example_run import write_search
from tests.search.untrained import ROUND_COUNT, Untrained

TRIALS = 16
"""Number of trials: more than the samplers draw at random at the start of a search."""


def searched(place: Path, corpus: Path, cuts: list[int], **changed: Any) -> Run:
    """Search in sessions that are killed after the given numbers of rounds, then in a session that runs to the end."""
    run = write_search(place, corpus, tasks=("sst",), rounds=ROUND_COUNT, **changed)
    for steps in (*cuts, None):
        with opened_study(run, None) as study:
            Untrained(Run(run.folder), study, TRIALS).train(steps)
    return Run(run.folder)


def outcome(run: Run) -> list[Any]:
    """Return the data of a run's trials, without times."""
    return [
        (trial.number, trial.params, trial.state, trial.values, trial.reason, [row.score for row in trial.rows])
        for trial in run.trials()
    ]


@pytest.mark.parametrize(
    ("sampler", "objective"), [*((name, ["score"]) for name in SAMPLERS), ("tpe", ["score", "seconds"])]
)
def test_a_search_that_was_killed_and_resumed_equals_an_uninterrupted_search(
    tmp_path: Path, sample_corpus_directory: Path, sampler: str, objective: list[str]
):
    same = {"sampler": sampler, "objective": objective}
    whole = outcome(searched(tmp_path / "whole", sample_corpus_directory, [], **same))
    cut = outcome(searched(tmp_path / "cut", sample_corpus_directory, [2, 0, 17, 20], **same))
    assert cut == whole and len(whole) == TRIALS
    assert {state for _, _, state, *_ in whole} == {"COMPLETE", "PRUNED"}
    assert len({repr(params) for _, params, *_ in whole}) == TRIALS


def test_another_seed_gives_another_search(tmp_path: Path, sample_corpus_directory: Path):
    first, second = (
        outcome(searched(tmp_path / str(seed), sample_corpus_directory, [], seed=seed, sampler="random"))
        for seed in (0, 1)
    )
    assert first != second
