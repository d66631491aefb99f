"""Tune's callbacks -> a live table on a terminal, or one line per finished round into a pipe."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console
import rich.live
import rich.table
from ray import tune

from search.runs.objectives import objective
from search.runs.trial_record import RUNNING, Trial
from search.tune.budgets import CUT, Budget


class Progress(tune.Callback):
    """Show what runs, the best so far and the time left. Called in Tune's event loop: everything here is cheap."""

    def __init__(
        self,
        trials: int,
        rounds: int | None,
        before: list[Trial],
        budget: Budget,
        names: Mapping[int, str],
        *,
        objectives: Sequence[str],
        turns: bool = False,
    ):
        """Start from what earlier sessions did.

        Args:
            trials: trials of the search, those of earlier sessions included.
            rounds: judged rounds of a trial; None if trials differ in it.
            before: the trials of earlier sessions.
            budget: what ends the search before all trials have.
            names: number -> what a trial is called, where it has a name.
            objectives: what the search is for.
            turns: whether trials take turns, a round each, and clones replace some.
        """
        self.trials, self.rounds, self.budget, self.names = trials, rounds, budget, names
        self.costs = [name for name in objectives if objective(name).direction == "minimize"]
        self.turns = turns
        self.best: dict[str, tuple[float, int]] = {}
        replaced = {trial.clone.replaced for trial in before if trial.clone}
        self.ended = {trial.number for trial in before if trial.state != RUNNING} - replaced
        self.rows: dict[int, dict[str, Any]] = {}
        """Trial -> the row of its newest round, while it lives."""
        self.trained = 0
        self.live: rich.live.Live | None = None
        for trial in before:
            for row in trial.rows:
                self._better(trial.number, row)
                if trial.state == RUNNING:
                    self.rows[trial.number] = row

    def setup(self, *given: Any, **info: Any) -> None:
        """Start the clock and, on a terminal, the live table."""
        self.started = time.monotonic()
        if sys.stdout.isatty():
            self.live = rich.live.Live(refresh_per_second=2, get_renderable=self._table)
            self.live.start()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note a finished round."""
        number = trial.config["number"]
        if number in self.rows and self.rows[number]["round"] >= result["round"]:
            return  # told again after a restart
        self.rows[number] = result
        self.rows.pop(trial.config["replaced"], None)
        self.trained += 1
        self._better(number, result)
        if not self.live:
            figures = " ".join(f"{name} {figure}" for name, figure in self._figures(result).items())
            best = f"; best {self.best['score'][0]:.4f} (trial {self.best['score'][1]})" if "score" in self.best else ""
            self._say(f"{self._name(number)} round {result['round']}: score {_figure(result['score'])} {figures}{best}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial that finished or was stopped."""
        last = trial.last_result
        if self.turns and comes_back(last):
            return
        ended = "finished" if last["last"] else CUT if self.budget.over else "stopped early"
        self._end(trial, ended if last["finite"] else "failed: not finite")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial that was given up."""
        self._end(trial, "failed")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial that lost its worker and will be tried again."""
        self._say(f"{self._name(trial.config['number'])} lost its worker; it goes on from its last finished round")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Leave the last table on the terminal."""
        self.close()

    def close(self) -> None:
        """Give the terminal back; also after an interruption, of which Tune tells nobody."""
        if self.live:
            self.live.stop()

    def _end(self, trial: Any, how: str) -> None:
        number = trial.config["number"]
        self.ended.add(number)
        row = self.rows.pop(number, None)
        after = f" after round {row['round']}, score {_figure(row['score'])}" if row else ""
        self._say(f"{self._name(number)} {how}{after} ({len(self.ended)} of {self.trials} ended)")

    def _name(self, number: int) -> str:
        return f"trial {number} ({self.names[number]})" if number in self.names else f"trial {number}"

    def _say(self, text: str) -> None:
        if self.live:
            self.live.console.print(f"{self._clock()} {text}")
        else:
            print(f"{self._clock()} {text}", flush=True)

    def _better(self, number: int, row: dict[str, Any]) -> None:
        # Without common rounds the scores are means over different tasks.
        figures = row["metrics"] | ({"score": row["score"]} if self.rounds and row["score"] is not None else {})
        for name, value in figures.items():
            if value > self.best.get(name, (float("-inf"), 0))[0]:
                self.best[name] = value, number

    def _figures(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Return a round's metrics, and what it costs where the search is to save it."""
        costs = {name: f"{objective(name).of_round(row):.4g}" for name in self.costs}
        return {name: _figure(value) for name, value in row["metrics"].items()} | costs

    def _clock(self) -> str:
        return f"{time.monotonic() - self.started:6.0f}s"

    def _left(self) -> str:
        """Estimate the time left from the pace so far, as if no more trials were stopped and all were as long."""
        if not self.rounds:
            return "time left: unknown, for trials differ"
        seconds = time.monotonic() - self.started
        open_rounds = self.rounds * (self.trials - len(self.ended)) - sum(
            row["judged"] or 0 for row in self.rows.values()
        )
        guess = seconds / self.trained * open_rounds if self.trained else None
        known = [value for value in (guess, self.budget.remaining()) if value is not None]
        return f"at most {min(known) / 60:.0f} min left" if known else "time left: known after the first round"

    def _table(self) -> rich.console.Group:
        best = ", ".join(f"{name} {value:.4f} (trial {number})" for name, (value, number) in self.best.items())
        title = f"{len(self.ended)} of {self.trials} trials ended; {self._left()}"
        figures = {number: self._figures(row) for number, row in sorted(self.rows.items())}
        columns = list(dict.fromkeys(name for row in figures.values() for name in row))
        table = rich.table.Table("", "round", "score", *columns, "loss", title=title)
        for number, shown in figures.items():
            row, cells = self.rows[number], [shown.get(column, "-") for column in columns]
            rounds = f"{row['judged'] or 0}/{self.rounds}" if self.rounds else str(row["round"])
            table.add_row(self._name(number), rounds, _figure(row["score"]), *cells, _figure(row["loss"]))
        return rich.console.Group(table, f"best so far: {best or 'no finished round yet'}")


def comes_back(row: Mapping[str, Any]) -> bool:
    """Whether a trial of a population that left its slot after a round will train on, itself or as a clone."""
    return row["finite"] and not row["last"]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
