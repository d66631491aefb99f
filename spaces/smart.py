"""The main search space: multitask training with SMART, its weight, dropout, learning rate and batch schedule."""

from typing import Any

import optuna

from trainers.config import SmartConfig, TrainConfig
from trainers.recipes import smart

ROWS = 48
"""Rows of a step, over all tasks, with the schedule interleaved."""
SCHEDULES = ["smart_round_robin", "cycle", "shuffle", "simultaneous", "interleaved"]

# The best values of lambda_s and dropout in report 002, with the learning rate of our recipe for MiniLM; the report's
# learning rate, 1e-5, is for BERT-base.
START: list[dict[str, Any]] = [
    {"lambda_s": lambda_s, "dropout": dropout, "learning_rate": 2e-4, "batch_schedule": "smart_round_robin"}
    for lambda_s, dropout in [(5.0, 0.1), (5.0, 0.4), (1.0, 0.2)]
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary the weight of SMART, dropout, learning rate, batch schedule and, if interleaved, the batch sizes."""
    recipe = smart()
    lambda_s = trial.suggest_float("lambda_s", 0.1, 10, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    stage = recipe.stages[0].replace(
        learning_rate=trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True),
        batch_schedule=trial.suggest_categorical("batch_schedule", SCHEDULES),
    )
    if stage.batch_schedule == "interleaved":  # in other schedules, a ratio changes which rows a step has, not how many
        stage = stage.replace(batch_size=_batch_sizes(trial))
    return recipe.replace(smart=SmartConfig(lambda_s=lambda_s), dropout=dropout, head_dropout=dropout, stages=(stage,))


def _batch_sizes(trial: optuna.Trial) -> dict[str, int]:
    """Divide the rows of a step by the tasks' ratios to the rows of QQP; each task has at least one row."""
    sst = trial.suggest_float("batch_ratio_sst", 1 / 16, 1, log=True)
    sts = trial.suggest_float("batch_ratio_sts", 1 / 16, 1, log=True)
    qqp = ROWS / (1 + sst + sts)
    sizes = {"sst": max(1, round(qqp * sst)), "sts": max(1, round(qqp * sts))}
    return sizes | {"qqp": ROWS - sum(sizes.values())}
