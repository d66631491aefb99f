"""Record the order in which the driver receives the rounds of trials; the clocks of nodes cannot give it."""

import json
from collections.abc import Sequence

from search.runs.trial_record import Trial
from trainers.folder import Folder
from trainers.training.rounds import RoundRow

ARRIVALS = "arrivals.jsonl"
"""Pairs of a trial and a round, a line each."""


class Arrivals:
    """The rounds of a run in the order of their arrival at the driver, which alone writes the file."""

    def __init__(self, folder: Folder, trials: Sequence[Trial]):
        """Read the order, and record rounds that it lacks: their driver was killed before it received them.

        Such rounds come last, ordered by round and trial.

        Args:
            folder: the run directory.
            trials: the trials of the run.
        """
        self.folder, self.trials = folder, trials
        rows = {(trial.number, row.round): row for trial in trials for row in trial.rows}
        recorded = [key for key in _recorded(folder) if key in rows]
        self.rows = {key: rows[key] for key in recorded}
        """(trial, round) -> row of the rounds of earlier sessions, in the order of their arrival."""
        self.known = set(self.rows)
        for number, round in sorted(rows.keys() - self.known, key=lambda key: key[::-1]):
            self.rows[number, round] = rows[number, round]
            self.add(number, round)

    def add(self, number: int, round: int) -> None:
        """Record that a round of a trial has arrived, unless it has arrived before."""
        if (number, round) not in self.known:
            self.known.add((number, round))
            self.folder.append_json(ARRIVALS, [number, round])

    def rounds(self) -> list[tuple[int, RoundRow]]:
        """Return (trial, row) of the rounds of earlier sessions, in the order of their arrival."""
        return [(number, row) for (number, _), row in self.rows.items()]

    def trials_by_last_round(self) -> list[Trial]:
        """Return the trials of earlier sessions in the order in which their last rounds arrived."""
        places = {key: place for place, key in enumerate(self.rows)}
        return sorted(self.trials, key=lambda one: places[one.number, one.rows[-1].round] if one.rows else -1)


def _recorded(folder: Folder) -> list[tuple[int, int]]:
    """Read the pairs of the file. Damaged lines are skipped: their rounds come last."""
    text = folder.read(ARRIVALS).decode(errors="replace") if folder.exists(ARRIVALS) else ""
    return [pair for line in text.split("\n") if (pair := _pair(line))]


def _pair(line: str) -> tuple[int, int] | None:
    """Return the pair of a line; None for any other content."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(found, list) and [type(part) for part in found] == [int, int]
    return (found[0], found[1]) if known else None
