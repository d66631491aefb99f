"""Tune's trial schedulers: successive halving, and one round at a time for a population."""

from collections.abc import Iterable, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.runs.objectives import values_to_maximize
from search.runs.trial_record import Trial
from search.tune.halving import Halving
from search.tune.trials.results import row_of
from trainers.training.rounds import RoundRow


class HalvingScheduler(FIFOScheduler):
    """Successive halving on judged rounds. The rungs are read from the trials' rows, so they survive a restart."""

    def __init__(self, rounds: Iterable[tuple[int, RoundRow]], halving: Halving, objectives: Sequence[str]):
        """Fill the rungs from the rounds of earlier sessions: (trial, row), in the order of their arrival."""
        super().__init__()
        self._metric = "score"
        self.halving, self.objectives = halving, objectives
        for number, row in rounds:
            self._enter(number, row)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept any metric and mode: the scheduler has its own."""
        return True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial that ranks too low at a rung; a repeated report of a round gets the same decision.

        A trial that continues a stopped one is never stopped.
        """
        number, row = trial.config["number"], row_of(result)
        if trial.config["origin"]:
            return TrialScheduler.CONTINUE
        self._enter(number, row)
        if row.last or row.judged is None or row.score is None or self.halving.continues(number, row.judged):
            return TrialScheduler.CONTINUE
        return TrialScheduler.STOP

    def debug_string(self) -> str:
        """Return the number of trials in each rung."""
        return f"rungs: { {rung: len(seen) for rung, seen in self.halving.rungs.items()} }"

    def _enter(self, number: int, row: RoundRow) -> None:
        if (values := values_to_maximize(row, self.objectives)) and row.judged:
            self.halving.enter(number, row.judged, values)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class PopulationScheduler(FIFOScheduler):
    """Stop a population's trial after every judged round, so that the searcher can choose the next trial."""

    def __init__(self, trials: Iterable[Trial]):
        """Read the newest round of each trial: a resumed trial reports its last round again."""
        super().__init__()
        self.rounds = {trial.number: trial.rows[-1].round for trial in trials if trial.rows}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial after a new judged round, unless that round is its last."""
        number, known = trial.config["number"], self.rounds.get(trial.config["number"], 0)
        row = row_of(result)
        self.rounds[number] = row.round
        continues = row.score is None or row.last or row.round <= known
        return TrialScheduler.CONTINUE if continues else TrialScheduler.STOP
