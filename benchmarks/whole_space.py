"""The search space of both sides of `benchmarks.whole`, and our configs in it."""

from typing import Any

import optuna

from trainers.config.train_config import TrainConfig
from trainers.methods.smart import SmartConfig
from trainers.recipes.joint import smart

PASSES, ROUNDS, BATCH_SIZE = 1.5, 6, 16
"""Examples per trial in multiples of the tasks' rows, rounds per trial, and rows per task in every step."""


def parameters(trial: optuna.Trial) -> dict[str, Any]:
    """Suggest the searched parameters: weight of SMART, dropout, learning rate."""
    return {
        "lambda_s": trial.suggest_float("lambda_s", 0.1, 10, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "learning_rate": trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True),
    }


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Return our config for a suggested point; like the peer, each step has a batch of every task."""
    recipe, drawn = smart(), parameters(trial)
    stage = recipe.stages[0].replace(
        passes=PASSES,
        rounds=ROUNDS,
        batch_schedule="simultaneous",
        batch_size=BATCH_SIZE,
        learning_rate=drawn["learning_rate"],
    )
    dropouts = {"dropout": drawn["dropout"], "head_dropout": drawn["dropout"]}
    return recipe.replace(smart=SmartConfig(lambda_s=drawn["lambda_s"]), **dropouts, stages=(stage,))
