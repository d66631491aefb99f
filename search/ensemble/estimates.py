"""Write and read `ensemble/metrics.json`: how good an ensemble is, compared with the best single model."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import ClassVar

from pydantic import ConfigDict

from model.errors import InputError, first_line
from model.files.json_text import parse_json
from search.ensemble.members import FOLDER, remedy
from search.runs.objectives import SCORE
from search.runs.run import Run
from search.selection.candidates import Candidate
from trainers.folder import Folder
from trainers.settings import STRICT, Config, Count, Number, parse_record, read_bounded

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

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

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


class PairRecord(Config):
    """The dev metric and the cross-fitted metric in `metrics.json`, with their intervals."""

    dev: float
    dev_interval: tuple[float, float]
    cross_fitted: float
    cross_fitted_interval: tuple[float, float]


class SingleRecord(PairRecord):
    """The best single candidate in `metrics.json`."""

    run: str
    trial: Number | None
    round: Number


class TaskRecord(PairRecord):
    """A task, or the score, in `metrics.json`."""

    gain: float | None
    gain_interval: tuple[float, float] | None
    best_single: SingleRecord | None


class MetricsRecord(Config):
    """The content of `metrics.json`, with the tasks and the score, which lie beside the other fields, under `found`."""

    found: dict[str, TaskRecord]
    strategy: str
    seed: Count
    soup: list[Candidate]
    rows: dict[str, Count]
    candidates: dict[str, Count]
    strategies: list[StrategyEstimates]

    def _faults(self) -> Iterable[str]:
        tasks, found = {*self.rows}, {*self.rows, SCORE}
        if not tasks or self.found.keys() != found or self.candidates.keys() != tasks:
            yield "the metrics, `rows` and `candidates` name different tasks"
        for strategy in self.strategies:
            if strategy.members.keys() != tasks or not (strategy.dev.keys() == strategy.cross_fitted.keys() == found):
                yield f"strategy {strategy.strategy[:40]!r} names other tasks"


def write_estimates(folder: Folder, estimates: EnsembleEstimates) -> None:
    """Write `metrics.json` into an ensemble's folder."""
    record = {name: _task_record(found) for name, found in estimates.tasks_and_score.items()}
    record |= {
        "strategy": estimates.strategy,
        "seed": estimates.seed,
        "soup": [asdict(candidate) for candidate in estimates.soup],
        "rows": estimates.rows,
        "candidates": estimates.candidates,
        "strategies": [asdict(found) for found in estimates.strategies],
    }
    folder.write_json(ESTIMATES_FILE, record)


def read_estimates(run: Run) -> EnsembleEstimates | None:
    """Read `ensemble/metrics.json`; return None if the run has no ensemble.

    Raises:
        InputError: the file is damaged.
    """
    folder = run.folder / FOLDER
    if not folder.exists(ESTIMATES_FILE):
        return None
    try:
        fields = parse_json(read_bounded(folder, ESTIMATES_FILE))
        if not isinstance(fields, dict):
            raise ValueError("it is no JSON object")
        own = {name: fields.pop(name) for name in MetricsRecord.model_fields if name != "found" and name in fields}
        record = parse_record(json.dumps(own | {"found": fields}).encode(), MetricsRecord)
    except ValueError as error:
        raise InputError(f"{folder}/{ESTIMATES_FILE} cannot be used: {first_line(error)}. {remedy(run)}") from None
    return EnsembleEstimates(
        {task: _task_estimates(record.found[task]) for task in record.rows},
        _task_estimates(record.found[SCORE]),
        record.strategy,
        record.seed,
        record.soup,
        record.rows,
        record.candidates,
        record.strategies,
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


def _task_estimates(record: TaskRecord) -> TaskEstimates:
    single, gain, interval = record.best_single, record.gain, record.gain_interval
    return TaskEstimates(
        *_estimates(record),
        SingleEstimates(Candidate(single.run, single.trial, single.round), *_estimates(single)) if single else None,
        None if gain is None or interval is None else Estimate(gain, *interval),
    )


def _estimates(record: PairRecord) -> tuple[Estimate, Estimate]:
    """Return the dev estimate and the cross-fitted estimate."""
    return Estimate(record.dev, *record.dev_interval), Estimate(record.cross_fitted, *record.cross_fitted_interval)
