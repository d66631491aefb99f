"""What becomes of gradients that disagree, under each batch schedule: reports 000, 001, 002 and 004 compared."""

from typing import Any

import optuna

from trainers.config import ONE_TASK_A_STEP, SEVERAL_TASKS_A_STEP, TrainConfig
from trainers.recipes import plain

APART = "apart"
"""Not a surgery: a step of its own for each task."""
TREATMENTS = ["sum", "pcgrad", "gradvac", APART]

RATE = 2e-4
START: list[dict[str, Any]] = [
    {"learning_rate": RATE, "batch_schedule": "smart_round_robin", "gradients": "sum"},
    {"learning_rate": RATE, "batch_schedule": "smart_round_robin", "gradients": "pcgrad"},  # report 000
    {"learning_rate": RATE, "batch_schedule": "cycle", "gradients": "pcgrad"},  # its cycle
    {"learning_rate": RATE, "batch_schedule": "shuffle"},  # its shuffle
    {"learning_rate": RATE, "batch_schedule": "equal", "gradients": APART},  # 001
    {"learning_rate": RATE, "batch_schedule": "interleaved", "gradients": APART},  # 001's full round-robin
    {"learning_rate": RATE, "batch_schedule": "simultaneous", "gradients": "pcgrad"},  # 002
    {"learning_rate": RATE, "batch_schedule": "equal", "gradients": "gradvac"},  # 004
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary the batch schedule and, where tasks meet, how their gradients become steps."""
    recipe = plain()
    stage = recipe.stages[0].replace(
        learning_rate=trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True),
        batch_schedule=trial.suggest_categorical("batch_schedule", SEVERAL_TASKS_A_STEP + ONE_TASK_A_STEP),
    )
    if stage.batch_schedule in SEVERAL_TASKS_A_STEP:
        gradients = trial.suggest_categorical("gradients", TREATMENTS)
        stage = stage.replace(update="separate") if gradients == APART else stage.replace(surgery=gradients)
    return recipe.replace(stages=(stage,))
