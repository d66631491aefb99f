"""Systems with names: each a function that returns its whole config."""

from collections.abc import Callable

from model.errors import unknown
from trainers.config import SmartConfig, Stage, TrainConfig

JOINT = Stage(passes=1.5, rounds=6, batch_schedule="smart", batch_size=8, learning_rate=2e-4)
"""Sentiment, paraphrase and similarity together; every row of every task once an epoch."""


def plain() -> TrainConfig:
    """Train the three tasks jointly, pairs concatenated, dropout as pretrained: neither regulariser nor surgery."""
    return TrainConfig(stages=(JOINT,))


def smart() -> TrainConfig:
    """Add SMART to `plain`, on every task, with a radius at which it bites: the papers' epsilon is inert."""
    return TrainConfig(stages=(JOINT,), smart=SmartConfig(lambda_s=1.0))


def pcgrad() -> TrainConfig:
    """Add PCGrad to `plain`."""
    return TrainConfig(stages=(JOINT.replace(surgery="pcgrad"),))


RECIPES: dict[str, Callable[[], TrainConfig]] = {"plain": plain, "smart": smart, "pcgrad": pcgrad}


def recipe(name: str) -> TrainConfig:
    """Return the config of a named system.

    Raises:
        InputError: there is none of that name; says which is nearest.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]()
