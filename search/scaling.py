"""A config -> the same for a quick look: shorter stages, in which every task still has its turn."""

from collections.abc import Sequence

from trainers.config import DURATIONS, Stage, TrainConfig
from trainers.data import Corpus
from trainers.plan import Step, plan


def scaled(config: TrainConfig, scale: float, corpus: Corpus) -> TrainConfig:
    """Let every stage take that share of its optimiser steps, and cut none into more rounds than it then has.

    A supervised stage goes on until each of its tasks has had a turn. With scale 1 only rounds may change.

    Raises:
        InputError: the config asks for what the data or the installation lack.
    """
    whole = config.replace(stages=tuple(stage.replace(rounds=1) for stage in config.stages))
    steps, _ = plan(whole, corpus)
    own = [[step for step in steps if step.stage == place] for place in range(len(config.stages))]
    return config.replace(stages=tuple(_scaled(*pair, scale) for pair in zip(config.stages, own, strict=True)))


def _scaled(stage: Stage, steps: Sequence[Step], scale: float) -> Stage:
    count = max(round(scale * len(steps)), _all_had_turns(steps) if stage.supervised else 1)
    duration = {} if count == len(steps) else dict.fromkeys(DURATIONS) | {"steps": count}
    return stage.replace(**duration, rounds=min(stage.rounds, count))


def _all_had_turns(steps: Sequence[Step]) -> int:
    """Return after how many steps each task that they train has been trained."""
    first: dict[str, int] = {}
    for count, step in enumerate(steps, start=1):
        for task in step.rows:
            first.setdefault(task, count)
    return max(first.values())
