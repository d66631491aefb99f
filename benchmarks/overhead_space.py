"""The space of `benchmarks.overhead`: `whole_space`, with trials so short that what is between them shows."""

import optuna

from benchmarks import whole_space
from trainers.config.train_config import TrainConfig

ROUNDS, BATCH_SIZE = 3, 4
"""Of a trial: report intervals, rows of each task in every step."""


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Return our config at a point of the space."""
    config = whole_space.suggest(trial)
    return config.replace(stages=(config.stages[0].replace(rounds=ROUNDS, batch_size=BATCH_SIZE),))
