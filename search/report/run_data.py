"""Read the data that several sections of the report share: a run's trials and their ranking."""

from dataclasses import dataclass

from search.runs.run import Run
from search.runs.trial_record import Trial
from trainers.training.rounds import RoundRow


@dataclass(frozen=True)
class BestRound:
    """A trial and the row of its round with the best score."""

    trial: Trial
    row: RoundRow


@dataclass(frozen=True)
class RunData:
    """A run and its trials."""

    run: Run
    trials: list[Trial]
    ranked: list[BestRound]
    """The trials that have a score, the best first."""

    @property
    def best(self) -> BestRound | None:
        """The best trial; None if no trial has a score."""
        return self.ranked[0] if self.ranked else None

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters of the ranked trials."""
        return sorted({name for found in self.ranked for name in found.trial.params})


def read_run_data(run: Run) -> RunData:
    """Read a run's trials and rank them by score."""
    trials = run.trials()
    scored = [BestRound(trial, trial.best_row) for trial in trials if trial.scores]
    # The recipes of a reproduction are scored on different numbers of tasks: such scores do not compare.
    ranked = sorted(scored, key=lambda found: (-len(found.row.metrics), -(found.row.score or 0.0)))
    return RunData(run, trials, ranked)
