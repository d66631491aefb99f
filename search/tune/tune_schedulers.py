"""Tune's trial schedulers: successive halving on judged rounds, and turns for a population."""

from collections.abc import Iterable, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.runs.objectives import rung_values
from search.runs.trial_record import Trial
from search.tune.halving import Halving
from search.tune.trainable import row_of


class RoundHalving(FIFOScheduler):
    """Successive halving on judged rounds. The rungs are read from the trials' rows, so they survive a restart."""

    def __init__(self, trials: Iterable[Trial], halving: Halving, objectives: Sequence[str]):
        """Fill the rungs from a run's trials, in the order in which their rounds ended."""
        super().__init__()
        self._metric = "score"
        self.halving, self.objectives = halving, objectives
        ended = [(row["ended"], trial.number, row) for trial in trials for row in trial.rows]
        for _, number, row in sorted(ended, key=lambda entry: entry[0]):
            self._enter(number, row)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept: the metric is fixed."""
        return True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial that is not ahead enough at a rung; a round told again is judged as it was the first time."""
        number = trial.config["number"]
        self._enter(number, row_of(result))
        if result["last"] or result["score"] is None or self.halving.goes_on(number, result["judged"]):
            return TrialScheduler.CONTINUE
        return TrialScheduler.STOP

    def debug_string(self) -> str:
        """Say how full the rungs are."""
        return f"rungs: { {rung: len(seen) for rung, seen in self.halving.rungs.items()} }"

    def _enter(self, number: int, row: dict[str, Any]) -> None:
        if values := rung_values(row, self.objectives):
            self.halving.enter(number, row["judged"], values)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Turns(FIFOScheduler):
    """Take turns: a trial of a population leaves its slot after every judged round, and the searcher brings it back."""

    def __init__(self, trials: Iterable[Trial]):
        """Take a run's trials: who is brought back tells its last round again."""
        super().__init__()
        self.rounds = {trial.number: trial.rows[-1]["round"] for trial in trials if trial.rows}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial after a new round that was judged."""
        number, known = trial.config["number"], self.rounds.get(trial.config["number"], 0)
        self.rounds[number] = result["round"]
        goes_on = result["score"] is None or result["last"] or result["round"] <= known
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP
