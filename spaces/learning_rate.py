"""Search space of the learning rate, its schedule and its decay over layers: the sweeps of reports 003 and 004."""

from typing import Any

import optuna

from trainers.config import TrainConfig
from trainers.recipes import plain

# The learning rate of our recipes, for MiniLM; then the reports' rates for BERT-base, without warm-up and decay.
START: list[dict[str, Any]] = [
    {"learning_rate": 2e-4, "warmup": 0.1, "decay": True, "layer_decay": 1.0},
    *(
        {"learning_rate": rate, "warmup": 0.0, "decay": False, "layer_decay": 1.0}
        for rate in (1e-5, 2e-5, 3e-5, 4e-5, 5e-5)
    ),
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary the learning rate, its warm-up and decay, and its factor from each layer to the layer below."""
    recipe = plain()
    stage = recipe.stages[0].replace(learning_rate=trial.suggest_float("learning_rate", 5e-6, 5e-4, log=True))
    optimizer = recipe.optimizer.replace(
        warmup=trial.suggest_float("warmup", 0.0, 0.3),
        decay=trial.suggest_categorical("decay", [True, False]),
        layer_decay=trial.suggest_float("layer_decay", 0.7, 1.0),
    )
    return recipe.replace(stages=(stage,), optimizer=optimizer)
