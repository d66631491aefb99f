"""The main search space: multitask training, plainly or with SMART; dropout, learning rate, pooling, batch schedule."""

from typing import Any

import optuna

from trainers.config import SmartConfig, TrainConfig
from trainers.recipes import plain

PASSES = (0.5, 3)
"""With --time-budget: the fewest and the most passes of a trial. More than three did not help 600 rows per task."""
ROWS = 48
"""Rows of a step, over all tasks, with the schedule interleaved."""
SCHEDULES = ["smart_round_robin", "cycle", "shuffle", "simultaneous", "interleaved"]
SMART_EVERY = {"lazy": 4, "always": 1}
"""Apply SMART in every N-th step. In every step training takes 2.4 to 2.7 times as long, in every fourth 1.4 times."""

PLAIN: dict[str, Any] = {
    "smart": "off",
    "dropout": 0.0,
    "learning_rate": 8e-5,
    "pooling": "mean",
    "batch_schedule": "shuffle",
}
# The best known trainings of MiniLM, all without SMART but the third: a step for the batch of each task; steps with
# batches of several tasks, which take three quarters of the time; lazy SMART; a learning rate for larger encoders, too;
# dropout.
START: list[dict[str, Any]] = [
    PLAIN,
    PLAIN | {"learning_rate": 1.2e-4, "batch_schedule": "smart_round_robin"},
    PLAIN | {"learning_rate": 1.2e-4, "smart": "lazy", "lambda_s": 1.0},
    PLAIN | {"learning_rate": 4e-5},
    PLAIN | {"learning_rate": 1.2e-4, "dropout": 0.1},
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary SMART, dropout, learning rate, pooling, batch schedule and, if interleaved, the batch sizes."""
    recipe = plain()
    smart = trial.suggest_categorical("smart", ["off", *SMART_EVERY])
    if smart != "off":
        lambda_s = trial.suggest_float("lambda_s", 0.1, 10, log=True)
        recipe = recipe.replace(smart=SmartConfig(lambda_s=lambda_s, every=SMART_EVERY[smart]))
    dropout = trial.suggest_float("dropout", 0.0, 0.3)
    stage = recipe.stages[0].replace(
        learning_rate=trial.suggest_float("learning_rate", 2e-5, 3e-4, log=True),
        batch_schedule=trial.suggest_categorical("batch_schedule", SCHEDULES),
    )
    if stage.batch_schedule == "interleaved":  # in other schedules, a ratio changes which rows a step has, not how many
        stage = stage.replace(batch_size=_batch_sizes(trial))
    pooling = trial.suggest_categorical("pooling", ["mean", "pooled"])
    dropouts = {"dropout": dropout, "head_dropout": dropout, "attention_dropout": dropout}
    return recipe.replace(**dropouts, pooling=pooling, stages=(stage,))


def _batch_sizes(trial: optuna.Trial) -> dict[str, int]:
    """Divide the rows of a step by the tasks' ratios to the rows of QQP; each task has at least one row."""
    sst = trial.suggest_float("batch_ratio_sst", 1 / 16, 1, log=True)
    sts = trial.suggest_float("batch_ratio_sts", 1 / 16, 1, log=True)
    qqp = ROWS / (1 + sst + sts)
    sizes = {"sst": max(1, round(qqp * sst)), "sts": max(1, round(qqp * sts))}
    return sizes | {"qqp": ROWS - sum(sizes.values())}
