"""Search space of batch schedules and gradient surgery, to compare reports 000, 001, 002 and 004."""

from typing import Any

import optuna

from trainers.config import ONE_TASK_A_STEP, SEVERAL_TASKS_A_STEP, TrainConfig
from trainers.recipes import plain

SEPARATE = "separate"
"""The value of update that gives each task its own optimiser step, without surgery."""
TREATMENTS = ["sum", "pcgrad", "gradvac", SEPARATE]

RATE = 2e-4
START: list[dict[str, Any]] = [
    {"learning_rate": RATE, "batch_schedule": "smart_round_robin", "gradients": "sum"},
    {"learning_rate": RATE, "batch_schedule": "smart_round_robin", "gradients": "pcgrad"},  # report 000
    {"learning_rate": RATE, "batch_schedule": "cycle", "gradients": "pcgrad"},  # report 000, cycle round-robin
    {"learning_rate": RATE, "batch_schedule": "shuffle"},  # report 000, shuffle round-robin
    {"learning_rate": RATE, "batch_schedule": "equal", "gradients": SEPARATE},  # report 001
    {"learning_rate": RATE, "batch_schedule": "interleaved", "gradients": SEPARATE},  # report 001, rrobin-full
    {"learning_rate": RATE, "batch_schedule": "simultaneous", "gradients": "pcgrad"},  # report 002
    {"learning_rate": RATE, "batch_schedule": "equal", "gradients": "gradvac"},  # report 004
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary the batch schedule and, if a step has several tasks, how their gradients are combined."""
    recipe = plain()
    stage = recipe.stages[0].replace(
        learning_rate=trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True),
        batch_schedule=trial.suggest_categorical("batch_schedule", SEVERAL_TASKS_A_STEP + ONE_TASK_A_STEP),
    )
    if stage.batch_schedule in SEVERAL_TASKS_A_STEP:
        gradients = trial.suggest_categorical("gradients", TREATMENTS)
        stage = stage.replace(update="separate") if gradients == SEPARATE else stage.replace(surgery=gradients)
    return recipe.replace(stages=(stage,))
