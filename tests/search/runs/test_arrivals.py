"""Test the order in which rounds arrived: on a written run whose nodes' clocks disagree, and with a damaged file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from search.runs.arrivals import ARRIVALS, Arrivals
from search.runs.run import Run
from tests.search.example_run import ExampleTrial, example_run
from trainers.trial import ROUNDS

CAME = [(1, 1), (0, 1), (1, 2), (2, 1), (0, 2), (1, 3), (2, 2)]


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    """Return a run of three trials; the later a round arrived, the earlier its node says that it ended."""
    trials = [ExampleTrial(number, rounds=rounds) for number, rounds in ((0, 2), (1, 3), (2, 2))]
    run = example_run(tmp_path / "run", sample_corpus_directory, trials)
    arrivals = Arrivals(run.folder, [])
    for number, round in [*CAME, *CAME]:  # a resumed trial reports its last round again
        arrivals.add(number, round)
    for trial in run.trials():
        rows = [
            replace(row, ended=f"2026-01-01T00:00:{59 - CAME.index((trial.number, row.round))}") for row in trial.rows
        ]
        trial.folder.delete(ROUNDS)
        for row in rows:
            trial.folder.append_json(ROUNDS, row.to_json())
    return Run(run.folder)


def order(run: Run) -> list[tuple[int, int]]:
    return [(number, row.round) for number, row in Arrivals(run.folder, run.trials()).rounds()]


def recorded(run: Run) -> list[tuple[int, int]]:
    return [tuple(json.loads(line)) for line in run.folder.read(ARRIVALS).splitlines()]


def test_rounds_and_ends_are_ordered_by_their_arrival_and_not_by_the_clocks_of_nodes(run: Run):
    arrivals = Arrivals(run.folder, run.trials())
    assert order(run) == CAME
    assert all(row == run.trials()[number].rows[row.round - 1] for number, row in arrivals.rounds())
    assert [trial.number for trial in arrivals.trials_by_last_round()] == [0, 1, 2]
    assert recorded(run) == CAME


def test_rounds_that_the_killed_driver_did_not_receive_come_last_and_keep_their_places(run: Run):
    lines = run.folder.read(ARRIVALS).decode().splitlines(keepends=True)
    run.folder.write(ARRIVALS, "".join(lines[:4]) + lines[4][:-2])
    expected = [*CAME[:4], (0, 2), (2, 2), (1, 3)]
    assert order(run) == expected
    Arrivals(run.folder, run.trials()).add(3, 1)
    assert order(run) == expected, "a round without a row is left out"
    assert recorded(run) == [*expected, (3, 1)]


@pytest.mark.parametrize(
    "damage", [b"\xff\n", b"[[[\n", b"[1, 1\n", b'{"a": 1}\n7\n[true, 1]\n["1", 1]\n[1]\n', b"[" * 100_000 + b"\n", b""]
)
def test_damaged_lines_are_skipped_and_their_rounds_come_last(run: Run, damage: bytes):
    lines = run.folder.read(ARRIVALS).splitlines(keepends=True)
    run.folder.write(ARRIVALS, lines[0] + damage + b"".join(lines[3:]))
    expected = [CAME[0], *CAME[3:], (0, 1), (1, 2)]
    assert order(run) == expected
    assert order(run) == expected
