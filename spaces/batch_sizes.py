"""Search space of batch sizes per task: the batch sizes of the reports, and the sweep of report 003."""

from typing import Any

import optuna

from trainers.config import TrainConfig
from trainers.recipes import plain

RATE = 2e-4


def _published(qqp: int, sst: int, sts: int) -> dict[str, Any]:
    ratios = {"batch_ratio_sst": sst / qqp, "batch_ratio_sts": sts / qqp}
    return {"learning_rate": RATE, "batch_schedule": "interleaved", "batch_size": qqp, **ratios}


START: list[dict[str, Any]] = [
    # The same batch size for all tasks: reports 002, 000 and 004.
    *({"learning_rate": RATE, "batch_schedule": "smart_round_robin", "batch_size": size} for size in (8, 16, 32)),
    _published(40, 6, 4),
    _published(64, 3, 2),  # report 001: proportional to the rows
    _published(45, 4, 3),
    _published(40, 8, 6),
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary the batch size of QQP and, with the schedule interleaved, the ratios of the other batch sizes to it."""
    recipe = plain()
    size = trial.suggest_int("batch_size", 8, 64, log=True)
    stage = recipe.stages[0].replace(
        learning_rate=trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True),
        batch_schedule=trial.suggest_categorical("batch_schedule", ["smart_round_robin", "interleaved"]),
        batch_size=size,
    )
    if stage.batch_schedule == "interleaved":  # in other schedules, a ratio changes which rows a step has, not how many
        ratios = {task: trial.suggest_float(f"batch_ratio_{task}", 1 / 32, 1, log=True) for task in ("sst", "sts")}
        others = {task: max(1, round(size * ratio)) for task, ratio in ratios.items()}
        stage = stage.replace(batch_size={"qqp": size, **others})
    return recipe.replace(stages=(stage,))
