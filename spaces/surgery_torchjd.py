"""Search space of gradient surgery with PCGrad and two methods of torchjd; needs the extra `torchjd`."""

from typing import Any

import optuna

from trainers.config import TrainConfig
from trainers.recipes import plain

SURGERIES = ["sum", "pcgrad", "upgrad", "mgda"]

START: list[dict[str, Any]] = [{"learning_rate": 2e-4, "surgery": surgery} for surgery in SURGERIES]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary the surgery and the learning rate."""
    recipe = plain()
    stage = recipe.stages[0].replace(
        learning_rate=trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True),
        surgery=trial.suggest_categorical("surgery", SURGERIES),
    )
    return recipe.replace(stages=(stage,))
