"""Write and read `ensemble/metrics.json`: how good an ensemble is, compared with the best single model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search.ensemble.members import FOLDER
from search.runs.objectives import SCORE
from search.runs.run import Run
from search.selection.candidates import Candidate

ESTIMATES_FILE = "metrics.json"


@dataclass(frozen=True)
class Estimate:
    """A metric, a score, or the difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval."""
        return self.low, self.high


@dataclass(frozen=True)
class SingleEstimates:
    """The best single candidate, its metric on the dev rows and its cross-fitted metric."""

    candidate: Candidate
    dev: Estimate
    cross_fitted: Estimate


@dataclass(frozen=True)
class TaskEstimates:
    """The metric of one task's ensemble, or the score over all tasks, beside the best single candidate."""

    dev: Estimate
    """On the rows on which the members were chosen."""
    cross_fitted: Estimate
    """On rows that took no part in the choice of the members."""
    best_single: SingleEstimates | None
    """None for the score, if no candidate predicts all tasks."""
    gain: Estimate | None
    """The cross-fitted estimate minus that of the best single candidate; None without one."""


@dataclass(frozen=True)
class StrategyEstimates:
    """The metrics of one strategy's ensemble; all strategies select from the same candidates."""

    strategy: str
    members: dict[str, int]
    """Task -> number of members."""
    dev: dict[str, float]
    """Task -> metric on the dev rows; under SCORE the score."""
    cross_fitted: dict[str, float]
    """Task -> cross-fitted metric; under SCORE the score."""


@dataclass(frozen=True)
class EnsembleEstimates:
    """Everything that `ensemble/metrics.json` holds."""

    tasks: dict[str, TaskEstimates]
    score: TaskEstimates
    strategy: str
    seed: int
    soup: list[Candidate]
    """The rounds whose weights the soup averages; empty without a soup."""
    rows: dict[str, int]
    """Task -> number of dev rows on which candidates are compared."""
    candidates: dict[str, int]
    """Task -> number of candidates."""
    strategies: list[StrategyEstimates]

    @property
    def tasks_and_score(self) -> dict[str, TaskEstimates]:
        """The estimates of every task, then under SCORE those of the score."""
        return self.tasks | {SCORE: self.score}


def write_estimates(run: Run, estimates: EnsembleEstimates) -> None:
    """Write `ensemble/metrics.json`."""
    record = {name: _task_record(found) for name, found in estimates.tasks_and_score.items()}
    record |= {
        "strategy": estimates.strategy,
        "seed": estimates.seed,
        "soup": [asdict(candidate) for candidate in estimates.soup],
        "rows": estimates.rows,
        "candidates": estimates.candidates,
        "strategies": [asdict(found) for found in estimates.strategies],
    }
    (run.folder / FOLDER).write_json(ESTIMATES_FILE, record)


def read_estimates(run: Run) -> EnsembleEstimates | None:
    """Read `ensemble/metrics.json`; return None if the run has no ensemble."""
    folder = run.folder / FOLDER
    if not folder.exists(ESTIMATES_FILE):
        return None
    record = folder.read_json(ESTIMATES_FILE)
    return EnsembleEstimates(
        {task: _task_estimates(record[task]) for task in record["rows"]},
        _task_estimates(record[SCORE]),
        record["strategy"],
        record["seed"],
        [Candidate(**candidate) for candidate in record["soup"]],
        record["rows"],
        record["candidates"],
        [StrategyEstimates(**found) for found in record["strategies"]],
    )


def _task_record(estimates: TaskEstimates) -> dict[str, object]:
    single, gain = estimates.best_single, estimates.gain
    return {
        **_pair_record(estimates),
        "gain": gain and gain.value,
        "gain_interval": gain and gain.interval,
        "best_single": single and {**asdict(single.candidate), **_pair_record(single)},
    }


def _pair_record(estimates: TaskEstimates | SingleEstimates) -> dict[str, object]:
    return {
        "dev": estimates.dev.value,
        "dev_interval": estimates.dev.interval,
        "cross_fitted": estimates.cross_fitted.value,
        "cross_fitted_interval": estimates.cross_fitted.interval,
    }


def _task_estimates(record: Mapping[str, Any]) -> TaskEstimates:
    single = record["best_single"]
    return TaskEstimates(
        _estimate(record, "dev"),
        _estimate(record, "cross_fitted"),
        single and _single_estimates(single),
        None if record["gain"] is None else _estimate(record, "gain"),
    )


def _single_estimates(record: Mapping[str, Any]) -> SingleEstimates:
    candidate = Candidate(record["run"], record["trial"], record["round"])
    return SingleEstimates(candidate, _estimate(record, "dev"), _estimate(record, "cross_fitted"))


def _estimate(record: Mapping[str, Any], name: str) -> Estimate:
    return Estimate(record[name], *record[f"{name}_interval"])
