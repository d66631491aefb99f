"""Split a step's rows into groups that have the same regularisers, and each group into micro-batches."""

import math
from dataclasses import dataclass

import numpy as np

from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.smart import SmartConfig
from trainers.settings import value_for_task

Rows = dict[str, np.ndarray]
"""Source (task or text set) -> row numbers [rows]."""


@dataclass(frozen=True)
class ForwardGroup:
    """Rows of a step that have the same regularisers. They share a forward pass, or one for each micro-batch."""

    rows: Rows
    smart: SmartConfig
    weights: dict[str, dict[str, float]]
    """Regulariser -> task -> weight; regularisers that do not apply are absent."""

    def micro_batches(self, count: int) -> list[dict[str, np.ndarray]]:
        """Split the group into at most `count` micro-batches of about equally many rows of each source.

        Returns:
            Source -> places of the micro-batch's rows among the group's rows [rows], for each micro-batch.
        """
        places = {source: np.array_split(np.arange(len(rows)), count) for source, rows in self.rows.items()}
        parts = [{source: split[part] for source, split in places.items() if len(split[part])} for part in range(count)]
        return [part for part in parts if part]


def split_step(rows: Rows, config: TrainConfig, stage: Stage, step: int) -> list[ForwardGroup]:
    """Split a step's rows into groups by their regularisers.

    Tasks with equal regularisers share a forward pass, because one pass for all is the fastest. With lazy SMART, every
    k-th step has k times the weight. With SMART on a share of the rows, the mean over the share counts for all rows.

    Args:
        rows: all rows of the step.
        step: number of the step in the run.
    """
    members: dict[tuple[SmartConfig, frozenset[str]], list[tuple[str, np.ndarray, dict[str, float]]]] = {}
    for source, numbers in rows.items():
        for some, smart, weights in _regularised(config, stage, source, numbers, step):
            if len(some):
                members.setdefault((smart, frozenset(weights)), []).append((source, some, weights))
    return [_group(smart, equal) for (smart, _), equal in members.items()]


def regularised_step(config: TrainConfig, stage: Stage, source: str, step: int) -> bool:
    """Return whether all regularisers of a source apply in a step; lazy SMART skips steps.

    With separate updates, turns are counted instead of steps: otherwise lazy SMART with two tasks would apply to the
    same task each time.
    """
    turn = step // len(stage.sources) if stage.update == "separate" else step
    return turn % config.smart_of(source).every == 0


def _regularised(
    config: TrainConfig, stage: Stage, source: str, rows: np.ndarray, step: int
) -> list[tuple[np.ndarray, SmartConfig, dict[str, float]]]:
    """Return the source's rows with and without SMART, SMART's settings except its weight, and all weights."""
    if not stage.supervised:
        return [(rows, SmartConfig(), {})]
    named = {"bregman": config.bregman.mu, **config.regularisers}
    weights = {name: weight for name, setting in named.items() if (weight := value_for_task(setting, source, 0.0))}
    smart = config.smart_of(source)
    if not smart.lambda_s or not regularised_step(config, stage, source, step):
        return [(rows, SmartConfig(), weights)]
    count = math.ceil(smart.share * len(rows))
    settings = smart.replace(lambda_s=1.0, every=1, share=1.0)
    lambda_s = smart.lambda_s * smart.every * len(rows) / max(count, 1)
    return [(rows[:count], settings, {"smart": lambda_s, **weights}), (rows[count:], SmartConfig(), weights)]


def _group(smart: SmartConfig, members: list[tuple[str, np.ndarray, dict[str, float]]]) -> ForwardGroup:
    names = members[0][2]
    return ForwardGroup(
        {source: some for source, some, _ in members},
        smart,
        {name: {source: weights[name] for source, _, weights in members} for name in names},
    )
