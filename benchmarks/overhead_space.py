"""The space of `benchmarks.overhead`: `whole_space` with very short trials, so that the time between them matters."""

import optuna

from benchmarks import whole_space
from trainers.config.train_config import TrainConfig

ROUNDS, BATCH_SIZE = 3, 4
"""Rounds per trial, and rows per task in every step."""


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Return our config for a suggested point of the space."""
    config = whole_space.suggest(trial)
    return config.replace(stages=(config.stages[0].replace(rounds=ROUNDS, batch_size=BATCH_SIZE),))
