"""Search space of the stages before the joint stage: masked language modelling, SimCSE, Quora (reports 000 to 004).

The texts are the tasks' own, so the space runs on any data. Supervised SimCSE is not here: it needs a text set of two
or three columns.
"""

from typing import Any

import optuna

from trainers.config import MlmConfig, SimcseConfig, Stage, TrainConfig
from trainers.recipes import JOINT, plain

ALL = "sst qqp sts"

MLM = {"further": "mlm", "mlm_texts": ALL, "mlm_one_token": True, "mlm_always_mask": False, "mlm_dropout": False}
MLM |= {"mlm_passes": 5.0, "mlm_learning_rate": 1e-5}
SIMCSE = {"further": "simcse", "simcse_texts": ALL, "temperature": 0.05, "simcse_passes": 1.0}
SIMCSE |= {"simcse_learning_rate": 3e-5}

START: list[dict[str, Any]] = [
    {"further": "none", "quora_first": False},
    # report 002
    {"further": "none", "quora_first": True, "quora_passes": 1.0},
    # report 003
    MLM | {"quora_first": False},
    # close to report 000
    MLM | {"mlm_one_token": False, "mlm_passes": 1.0, "mlm_learning_rate": 2e-5, "quora_first": False},
    # report 000
    SIMCSE | {"quora_first": False},
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary the stages before the joint stage. Their rounds have no score."""
    recipe = plain()
    stages = [*_further(trial), *_quora_first(trial, recipe.stages[0])]
    return recipe.replace(stages=(*stages, *recipe.stages))


def _further(trial: optuna.Trial) -> list[Stage]:
    kind = trial.suggest_categorical("further", ["none", "mlm", "simcse"])
    return {"none": lambda trial: [], "mlm": _mlm, "simcse": _simcse}[kind](trial)


def _mlm(trial: optuna.Trial) -> list[Stage]:
    mlm = MlmConfig(
        share="one" if trial.suggest_categorical("mlm_one_token", [False, True]) else 0.15,
        always_mask=trial.suggest_categorical("mlm_always_mask", [False, True]),
        head_dropout=0.15 if trial.suggest_categorical("mlm_dropout", [False, True]) else 0.0,
    )
    return [_on_texts(trial, "mlm", batch_size=16, mlm=mlm, longest=10)]


def _simcse(trial: optuna.Trial) -> list[Stage]:
    simcse = SimcseConfig(temperature=trial.suggest_float("temperature", 0.02, 0.2, log=True))
    return [_on_texts(trial, "simcse", batch_size=64, simcse=simcse, longest=2)]


def _on_texts(trial: optuna.Trial, objective: str, *, longest: float, **settings: Any) -> Stage:
    """Return a stage on the tasks' texts. With the schedule shuffle, each batch has texts of one task.

    Its rounds have no score; a kill loses at most one of them.
    """
    return Stage(
        objective=objective,
        tasks=tuple(trial.suggest_categorical(f"{objective}_texts", ["sst", ALL]).split()),
        batch_schedule="shuffle",
        rounds=JOINT.rounds,
        passes=trial.suggest_float(f"{objective}_passes", 0.5, longest, log=True),
        learning_rate=trial.suggest_float(f"{objective}_learning_rate", 1e-5, 2e-4, log=True),
        **settings,
    )


def _quora_first(trial: optuna.Trial, joint: Stage) -> list[Stage]:
    if not trial.suggest_categorical("quora_first", [False, True]):
        return []
    return [joint.replace(tasks=("qqp",), passes=trial.suggest_float("quora_passes", 0.25, 2.0, log=True))]
