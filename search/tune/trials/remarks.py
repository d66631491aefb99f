"""Collect the remarks on trials: tasks with constant predictions, regularisers that are inert or dominant."""

from collections.abc import Iterable

from search.runs.trial_record import Trial
from trainers.training.rounds import RoundRow


class Remarks:
    """The remarks on the rounds of a search: each is printed once per trial, the last ones are summed up at the end."""

    def __init__(self, before: Iterable[Trial], rounds: int | None):
        """Start with the trials of earlier sessions, whose remarks have been printed.

        Args:
            before: the trials of earlier sessions.
            rounds: judged rounds of a trial; None if trials differ in it.
        """
        self.rounds = rounds
        self.printed: dict[int, set[str]] = {}
        """Trial -> names of its remarks so far."""
        self.last: dict[int, dict[str, str]] = {}
        """Trial -> the remarks on its last round."""
        for trial in before:
            for row in trial.rows:
                self.new(trial.number, row)

    def new(self, number: int, row: RoundRow) -> list[str]:
        """Add a trial's round; return the remarks that no earlier round of the trial had."""
        printed = self.printed.setdefault(number, set())
        early = self.rounds is not None and 2 * (row.judged or 0) <= self.rounds
        # Early in training, constant predictions are usual.
        new = {name: text for name, text in row.remarks.items() if not (early and name in row.constant)}
        found = [text for name, text in new.items() if name not in printed]
        printed.update(new)
        if row.metrics:  # an unjudged round in the middle of a stage says nothing about tasks
            self.last[number] = row.remarks
        return found

    def summary(self) -> list[str]:
        """Return a line for each remark on the last rounds, with the numbers of its trials."""
        trials: dict[str, list[int]] = {}
        for number, remarks in sorted(self.last.items()):
            for text in remarks.values():
                trials.setdefault(text.partition(":")[0], []).append(number)
        return [
            f"{fault} in trial{'s' * (len(some) > 1)} {', '.join(map(str, some))}." for fault, some in trials.items()
        ]
