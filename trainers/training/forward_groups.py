"""Split a step's rows into groups that share a forward pass: by micro-batch, then by regularisers."""

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
    """Rows of a step that share a forward pass and have the same regularisers."""

    rows: Rows
    shares: dict[str, float]
    """Source -> share of the source's rows in the step that belong to this group."""
    smart: SmartConfig
    weights: dict[str, dict[str, float]]
    """Regulariser -> task -> weight; regularisers that do not apply are absent."""


def split_step(rows: Rows, config: TrainConfig, stage: Stage, step: int) -> list[ForwardGroup]:
    """Split a step's rows into groups; the groups' losses, weighted by their shares, add up to the step's loss.

    Tasks with equal regularisers share a forward pass, because one pass for all is the fastest. With lazy SMART, every
    k-th step has k times the weight. With SMART on a share of the rows, the mean over the share counts for all rows.

    Args:
        rows: all rows of the step.
        step: number of the step in the run.
    """
    groups: list[ForwardGroup] = []
    for micro in range(stage.accumulate):
        members: dict[tuple[SmartConfig, frozenset[str]], list[tuple[str, np.ndarray, dict[str, float]]]] = {}
        for source, numbers in rows.items():
            micro_batch = np.array_split(numbers, stage.accumulate)[micro]
            for some, smart, weights in _regularised(config, stage, source, micro_batch, step):
                if len(some):
                    members.setdefault((smart, frozenset(weights)), []).append((source, some, weights))
        groups += [_group(rows, smart, equal) for (smart, _), equal in members.items()]
    return groups


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


def _group(rows: Rows, smart: SmartConfig, members: list[tuple[str, np.ndarray, dict[str, float]]]) -> ForwardGroup:
    names = members[0][2]
    return ForwardGroup(
        {source: some for source, some, _ in members},
        {source: len(some) / len(rows[source]) for source, some, _ in members},
        smart,
        {name: {source: weights[name] for source, _, weights in members} for name in names},
    )
