"""The space that both sides of `benchmarks.whole` search, and our side's configs in it."""

from typing import Any

import optuna

from trainers.config.train_config import TrainConfig
from trainers.methods.smart import SmartConfig
from trainers.recipes.joint import smart

PASSES, ROUNDS, BATCH_SIZE = 1.5, 6, 16
"""Of a trial: examples in multiples of the tasks' rows, report intervals, rows of each task in every step."""


def parameters(trial: optuna.Trial) -> dict[str, Any]:
    """Draw what is searched: strength of SMART, dropout, learning rate."""
    return {
        "lambda_s": trial.suggest_float("lambda_s", 0.1, 10, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "learning_rate": trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True),
    }


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Return our config at a point of the space: a batch of every task in every step, as the peer's loop has it."""
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
