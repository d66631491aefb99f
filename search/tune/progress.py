"""Show the progress of a search: a live table on a terminal, else one line per finished round."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rich.console
import rich.live
import rich.table
from optuna.trial import TrialState
from ray import tune

from search.runs.objectives import objective
from search.runs.trial_record import RUNNING, Trial
from search.tune.budgets import Budget
from search.tune.trials.failures import failure_line
from search.tune.trials.remarks import Remarks
from search.tune.trials.results import row_of
from trainers.folder import Folder
from trainers.training.rounds import RoundRow


class Progress(tune.Callback):
    """Show the running trials, the best score and the time left. Tune waits for each method, so all are cheap."""

    def __init__(
        self,
        trials: int | None,
        rounds: int | None,
        before: list[Trial],
        budget: Budget,
        names: Mapping[int, str],
        objectives: Sequence[str],
        *,
        folder: Callable[[int], Folder],
    ):
        """Start with the rounds of earlier sessions.

        Args:
            trials: the number of trials, earlier sessions included; None for no limit.
            rounds: judged rounds of a trial; None if trials differ in it.
            before: the trials of earlier sessions.
            budget: the budget of the search.
            names: number of a trial -> its name, for trials that have one.
            objectives: the objectives of the search.
            folder: number of a trial -> its directory.
        """
        self.trials, self.rounds, self.budget, self.names = trials, rounds, budget, names
        self.costs = [name for name in objectives if objective(name).direction == "minimize"]
        self.folder = folder
        self.best: dict[str, tuple[float, int]] = {}
        """Score or metric -> its best value, and the trial."""
        replaced = {trial.clone.replaced for trial in before if trial.clone}
        self.over = {trial.number for trial in before if trial.state != RUNNING} - replaced
        self.rows: dict[int, RoundRow] = {}
        """Running trial -> the row of its newest round."""
        self.trained = 0
        """Rounds of this session."""
        self.remarks = Remarks(before, rounds)
        self.started = time.monotonic()
        self.live: rich.live.Live | None = None
        for trial in before:
            for row in trial.rows:
                self._update_best(trial.number, row)
                if trial.state == RUNNING:
                    self.rows[trial.number] = row

    def setup(self, *given: Any, **info: Any) -> None:
        """On a terminal, start the live table. Tune may be started several times."""
        if sys.stdout.isatty() and not self.live:
            self.live = rich.live.Live(refresh_per_second=2, get_renderable=self._table, redirect_stderr=False)
            self.live.start()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Show a finished round."""
        number, row = trial.config["number"], row_of(result)
        if number in self.rows and self.rows[number].round >= row.round:
            return  # a resumed trial reports its last round again
        self.rows[number] = row
        self.rows.pop(trial.config["replaced"], None)
        self.trained += 1
        self._update_best(number, row)
        if not self.live:
            values = " ".join(f"{name} {value}" for name, value in self._values(row).items())
            best = f"; best {self.best['score'][0]:.4f} (trial {self.best['score'][1]})" if "score" in self.best else ""
            self._print(f"{self._name(number)} round {row.round}: score {_four_digits(row.score)} {values}{best}")
        for remark in self.remarks.new(number, row):
            self._print(f"{self._name(number)}: {remark}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show a trial that a budget has cut."""
        last = row_of(trial.last_result)
        if self.budget.reason and not last.final:
            name = self._name(trial.config["number"])
            self._print(f"{name} is unfinished after round {last.round}; --resume continues it")

    def ended(self, number: int, state: TrialState, reason: str) -> None:
        """Show a trial that has ended."""
        self.over.add(number)
        row = self.rows.pop(number, None)
        ending = f"failed: {failure_line(self.folder(number), reason)}" if state == TrialState.FAIL else reason
        score = f", score {_four_digits(row.score)}" if row and state != TrialState.FAIL else ""
        self._print(f"{self._name(number)} {ending}{score} ({self._ended('')})")

    def continued(self, number: int, stopped: int) -> None:
        """Show that a stopped trial continues under another number: it has not ended, after all."""
        if stopped in self.over:
            self.over.remove(stopped)
            self._print(f"{self._name(number)} continues trial {stopped}, which early stopping had stopped")

    def paused(self, number: int, reason: str, seconds: float) -> None:
        """Show a trial that has failed and is trained again later."""
        row = self.rows.get(number)
        again = f"it continues after round {row.round}" if row else "it starts again"
        when = f" in {seconds:.0f} s" if seconds else ""
        if seconds == math.inf:
            again, when = "it waits for the other trials to show whether the machine or its config is to blame", ""
        self._print(f"{self._name(number)} failed: {failure_line(self.folder(number), reason, again + when)}")

    def close(self) -> None:
        """Stop updating the table, whose last state stays on the terminal."""
        if self.live:
            self.live.stop()

    def summarise(self) -> None:
        """Print the remarks on all trials."""
        for line in self.remarks.summary():
            print(line, flush=True)

    def _name(self, number: int) -> str:
        return f"trial {number} ({self.names[number]})" if number in self.names else f"trial {number}"

    def _print(self, text: str) -> None:
        if self.live:
            self.live.console.print(f"{self._clock()} {text}")
        else:
            print(f"{self._clock()} {text}", flush=True)

    def _update_best(self, number: int, row: RoundRow) -> None:
        # Trials without a common number of rounds also differ in tasks: their scores are means over different tasks.
        values = row.metrics | ({"score": row.score} if self.rounds and row.score is not None else {})
        for name, value in values.items():
            if value > self.best.get(name, (float("-inf"), 0))[0]:
                self.best[name] = value, number

    def _values(self, row: RoundRow) -> dict[str, str]:
        """Return a round's metrics, and the costs that the search minimises."""
        costs = {name: f"{objective(name).round_value(row):.4g}" for name in self.costs}
        return {name: _four_digits(value) for name, value in row.metrics.items()} | costs

    def _clock(self) -> str:
        return f"{time.monotonic() - self.started:6.0f}s"

    def _left(self) -> str:
        """Estimate the time left: the open rounds of all trials, at the session's mean time per round."""
        if not self.rounds:
            return "time left: unknown, because trials differ in length"
        known = [value for value in (self._estimate(self.rounds), self.budget.remaining()) if value is not None]
        return f"at most {min(known) / 60:.0f} min left" if known else "time left: known after the first round"

    def _estimate(self, rounds: int) -> float | None:
        """Return the seconds of the open rounds of all trials; None before the first round, or without a limit."""
        if not self.trained or self.trials is None:
            return None
        open_rounds = rounds * (self.trials - len(self.over)) - sum(row.judged or 0 for row in self.rows.values())
        return (time.monotonic() - self.started) / self.trained * open_rounds

    def _ended(self, noun: str) -> str:
        """Return how many trials have ended, of how many if their number is limited."""
        return f"{len(self.over)}{f' of {self.trials}' if self.trials else ''} {noun}ended"

    def _table(self) -> rich.console.Group:
        best = ", ".join(f"{name} {value:.4f} (trial {number})" for name, (value, number) in self.best.items())
        title = f"{self._ended('trials ')}; {self._left()}"
        values = {number: self._values(row) for number, row in sorted(self.rows.items())}
        columns = list(dict.fromkeys(name for row in values.values() for name in row))
        table = rich.table.Table("", "round", "score", *columns, "loss", title=title)
        for number, shown in values.items():
            row, cells = self.rows[number], [shown.get(column, "-") for column in columns]
            rounds = f"{row.judged or 0}/{self.rounds}" if self.rounds else str(row.round)
            table.add_row(self._name(number), rounds, _four_digits(row.score), *cells, _four_digits(row.loss))
        return rich.console.Group(table, f"best so far: {best or 'no finished round yet'}")


def _four_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
