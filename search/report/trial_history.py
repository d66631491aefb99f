"""Read the history of one trial: the trials that its weights come from, and its regularisers' gradient ratios."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from search.runs.trial_record import Trial
from trainers.training.rounds import RoundRow


@dataclass(frozen=True)
class LineageSegment:
    """Consecutive rounds that one trial trained, with its parameters."""

    first: int
    last: int
    trial: int
    params: dict[str, Any]


@dataclass(frozen=True)
class RatioSeries:
    """A regulariser's gradient ratio, round by round.

    The ratio is the norm of the regulariser's weighted gradient divided by the norm of its task's own gradient.
    """

    name: str
    """"task.regulariser"."""
    ratios: list[float | None]
    """[rounds]; None for a round that did not measure it."""

    @property
    def median(self) -> float:
        """The median over the rounds that measured the ratio."""
        return median(ratio for ratio in self.ratios if ratio is not None)


def lineage(trial: Trial, trials: Mapping[int, Trial]) -> list[LineageSegment]:
    """List the segments of training that led to a trial's weights, the earliest first.

    A trial that is not a clone has one segment. A clone has those of its donor, up to the cloned round, before its own;
    they are missing if the donor cannot be read.

    Args:
        trials: number -> trial.
    """
    segments: list[LineageSegment] = []
    last = trial.rows[-1].round
    while clone := trial.clone:
        segments.append(LineageSegment(clone.round + 1, last, trial.number, trial.params))
        if clone.trial not in trials:
            return segments[::-1]
        last, trial = clone.round, trials[clone.trial]
    return [LineageSegment(1, last, trial.number, trial.params), *reversed(segments)]


def ratio_series(rows: Sequence[RoundRow]) -> list[RatioSeries]:
    """Collect the gradient ratio of each regulariser over a trial's rounds; empty if no round measured any."""
    measured = [row.ratios for row in rows]
    names = sorted({name for ratios in measured for name in ratios})
    return [RatioSeries(name, [ratios.get(name) for ratios in measured]) for name in names]
