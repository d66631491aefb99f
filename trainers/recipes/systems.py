"""The three kinds of recipe: a config, a group of configs, and an ensemble of other recipes."""

from dataclasses import dataclass

from trainers.config.train_config import TrainConfig

ROUNDS_BEFORE = 10
"""Rounds of a stage before the stage that trains the last task. A kill loses at most a tenth of the stage."""


@dataclass(frozen=True)
class Group:
    """Independent trainings, one per task, that form one system. A member's name is `NAME/MEMBER`."""

    members: dict[str, TrainConfig]
    """Task -> the config that trains it."""


@dataclass(frozen=True)
class EnsembleOf:
    """An ensemble of the models of other recipes, task by task."""

    members: tuple[str, ...]
    """Names of recipes or of members of groups."""
    strategy: str
    """Name of an ensemble strategy."""


Recipe = TrainConfig | Group | EnsembleOf
