"""A step's rows -> the forward passes they take: by micro-batch, and by what regularises them."""

import math
from dataclasses import dataclass

import numpy as np

from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.smart import SmartConfig
from trainers.settings import value_for_task

Rows = dict[str, np.ndarray]
"""Source -> row numbers [rows]."""


@dataclass(frozen=True)
class Part:
    """Rows of a step that share a forward pass, all under the same regularisers."""

    rows: Rows
    shares: dict[str, float]
    """Source -> share of its rows of the step that are in this part."""
    smart: SmartConfig
    weights: dict[str, dict[str, float]]
    """Regulariser -> task -> weight; those that do not apply are left out."""


def split(rows: Rows, config: TrainConfig, stage: Stage, step: int) -> list[Part]:
    """Split a step's rows into parts whose losses, weighted by their shares, add up to the step's.

    Tasks under equal regularisers pass together: one forward pass for all is the cheapest. Of lazy SMART, every k-th
    step has k times its weight; of a share of a batch's rows, the mean over them stands for all.

    Args:
        rows: of the step.
        step: the step's number in the run.
    """
    parts: list[Part] = []
    for micro in range(stage.accumulate):
        groups: dict[tuple[SmartConfig, frozenset[str]], list[tuple[str, np.ndarray, dict[str, float]]]] = {}
        for source, numbers in rows.items():
            chunk = np.array_split(numbers, stage.accumulate)[micro]
            plain = [(chunk, SmartConfig(), dict[str, float]())]
            for some, smart, weights in _regularised(config, stage, source, chunk, step) if stage.supervised else plain:
                if len(some):
                    groups.setdefault((smart, frozenset(weights)), []).append((source, some, weights))
        parts += [_part(rows, smart, members) for (smart, _), members in groups.items()]
    return parts


def regularised_step(config: TrainConfig, stage: Stage, source: str, step: int) -> bool:
    """Whether every regulariser of a source applies in a step of this number: lazy ones leave steps out.

    Tasks that take a step each are counted by turns: by steps, one of two tasks would have every second step, or none.
    """
    turn = step // len(stage.sources) if stage.update == "separate" else step
    return turn % config.smart_of(source).every == 0


def _regularised(
    config: TrainConfig, stage: Stage, source: str, rows: np.ndarray, step: int
) -> list[tuple[np.ndarray, SmartConfig, dict[str, float]]]:
    """Return a source's rows with and without SMART: settings without their weight, and every regulariser's weight."""
    named = {"bregman": config.bregman.mu, **config.regularisers}
    weights = {name: weight for name, setting in named.items() if (weight := value_for_task(setting, source, 0.0))}
    smart = config.smart_of(source)
    if not smart.lambda_s or not regularised_step(config, stage, source, step):
        return [(rows, SmartConfig(), weights)]
    count = math.ceil(smart.share * len(rows))
    settings = smart.replace(lambda_s=1.0, every=1, share=1.0)
    lambda_s = smart.lambda_s * smart.every * len(rows) / max(count, 1)
    return [(rows[:count], settings, {"smart": lambda_s, **weights}), (rows[count:], SmartConfig(), weights)]


def _part(rows: Rows, smart: SmartConfig, members: list[tuple[str, np.ndarray, dict[str, float]]]) -> Part:
    names = members[0][2]
    return Part(
        {source: some for source, some, _ in members},
        {source: len(some) / len(rows[source]) for source, some, _ in members},
        smart,
        {name: {source: weights[name] for source, _, weights in members} for name in names},
    )
