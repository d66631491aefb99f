"""Search space of SMART: its weight lambda, its tasks and its radius, as in the sweeps of reports 000 to 003."""

from typing import Any

import optuna

from trainers.config import SmartConfig, TrainConfig
from trainers.recipes import plain

NONE, ALL = "none", "sst qqp sts"
TASKS = [NONE, ALL, "sst", "qqp", "sts", "sst qqp", "sst sts", "qqp sts"]

# The lambdas of the reports, with a radius at which SMART has an effect: none, 5 (reports 000 and 001), 1 (report 002),
# 2 on SST only (report 003).
START: list[dict[str, Any]] = [
    {"smart_tasks": NONE},
    {"smart_tasks": ALL, "radius": 0.03, "lambda_by_task": False, "lambda_s": 5.0},
    {"smart_tasks": ALL, "radius": 0.03, "lambda_by_task": False, "lambda_s": 1.0},
    {"smart_tasks": "sst", "radius": 0.03, "lambda_s": 2.0},
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary the tasks with SMART, the radius, and lambda: one for all tasks, or one per task."""
    tasks = trial.suggest_categorical("smart_tasks", TASKS)
    if tasks == NONE:
        return plain()
    radius = trial.suggest_float("radius", 3e-3, 0.1, log=True)
    smart = {
        task: SmartConfig(lambda_s=lambda_s, radius=radius, step_size=radius, noise_scale=radius / 100)
        for task, lambda_s in _lambdas(trial, tasks.split()).items()
    }
    return plain().replace(smart=smart)


def _lambdas(trial: optuna.Trial, tasks: list[str]) -> dict[str, float]:
    by_task = len(tasks) > 1 and trial.suggest_categorical("lambda_by_task", [False, True])
    names = {task: f"lambda_s_{task}" if by_task else "lambda_s" for task in tasks}
    return {task: trial.suggest_float(name, 0.03, 30, log=True) for task, name in names.items()}
