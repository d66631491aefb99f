"""What a name may stand for: one config, a group of configs, or an ensemble of what other names stand for."""

from dataclasses import dataclass

from trainers.config.train_config import TrainConfig


@dataclass(frozen=True)
class Group:
    """Independent trainings that together are one system: `NAME/MEMBER` each."""

    members: dict[str, TrainConfig]
    """Task -> config that trains it."""


@dataclass(frozen=True)
class EnsembleOf:
    """Models of other recipes, joined task by task."""

    members: tuple[str, ...]
    """Names of recipes, or of members of groups."""
    strategy: str
    """A name of the ensemble's strategies."""


Recipe = TrainConfig | Group | EnsembleOf
