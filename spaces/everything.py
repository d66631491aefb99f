"""Search space of all settings, each only where it has an effect; for searches with many trials."""

from typing import Any

import optuna

from trainers.config import (
    ONE_TASK_A_STEP,
    SEVERAL_TASKS_A_STEP,
    AveragingConfig,
    BregmanConfig,
    HeadConfig,
    MlmConfig,
    OptimizerConfig,
    SmartConfig,
    Stage,
    TrainConfig,
)
from trainers.recipes import JOINT

ALL = "sst qqp sts"

OURS = {
    "pairs": "concatenated",
    "pair_cosine": False,
    "hidden": "none",
    "output_sts": "linear",
    "pooling": "pooled",
    "dropout": 0.1,
    "head_dropout": 0.1,
    "further": "none",
    "quora_first": False,
    "batch_schedule": "smart_round_robin",
    "gradients": "sum",
    "batch_size": 8,
    "learning_rate": 2e-4,
    "smart": True,
    "smart_tasks": ALL,
    "lambda_s": 1.0,
    "radius": 0.03,
    "smart_every": 1,
    "bregman": False,
    "r_drop": False,
    "averaging": "none",
    "weight_decay": 0.01,
    "warmup": 0.1,
    "decay": True,
    "layer_decay": 1.0,
    "trainable_layers": "all",
}
"""The parameters of the recipe `smart`."""

# Our recipe; the best lambda of report 002; its first stage on Quora, with more dropout; SMART and Bregman on SST, as
# in report 003.
START: list[dict[str, Any]] = [
    OURS,
    OURS | {"lambda_s": 5.0},
    OURS | {"quora_first": True, "quora_passes": 1.0, "dropout": 0.2, "head_dropout": 0.2},
    OURS | {"smart_tasks": "sst", "lambda_s": 2.0, "bregman": True, "mu": 1.0, "beta": 0.995},
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary all settings."""
    joint = _joint(trial)
    return TrainConfig(
        **_architecture(trial),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
        head_dropout=trial.suggest_float("head_dropout", 0.0, 0.5),
        **_regularisers(trial),
        averaging=_averaging(trial),
        optimizer=_optimizer(trial),
        stages=(*_further(trial), *_quora_first(trial, joint), joint),
    )


def _architecture(trial: optuna.Trial) -> dict[str, Any]:
    """Choose how pairs are encoded, the pooling, and the heads with features that suit the encoding."""
    pairs = trial.suggest_categorical("pairs", ["concatenated", "separate"])
    hidden = {"none": (), "one": (1.0,)}[trial.suggest_categorical("hidden", ["none", "one"])]
    pair: dict[str, Any] = {"hidden": hidden}
    if pairs == "concatenated":
        pair["cosine"] = trial.suggest_categorical("pair_cosine", [False, True])
    else:
        pair["features"] = trial.suggest_categorical("features", ["u_v", "u_v_difference", "hadamard", "relational"])
    sts = HeadConfig(**pair, output=trial.suggest_categorical("output_sts", ["linear", "sigmoid", "stairs"]))
    return {
        "pairs": pairs,
        "pooling": trial.suggest_categorical("pooling", ["pooled", "first", "mean"]),
        "head": {"sst": HeadConfig(hidden=hidden), "qqp": HeadConfig(**pair), "sts": sts},
    }


def _joint(trial: optuna.Trial) -> Stage:
    """Choose the joint stage, whose rounds have scores; its examples and rounds are the same in all trials."""
    schedule = trial.suggest_categorical("batch_schedule", SEVERAL_TASKS_A_STEP + ONE_TASK_A_STEP)
    size = trial.suggest_int("batch_size", 4, 32, log=True)
    stage = JOINT.replace(
        batch_schedule=schedule,
        batch_size=_interleaved(trial, size) if schedule == "interleaved" else size,
        learning_rate=trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True),
    )
    layers = trial.suggest_categorical("trainable_layers", ["all", "4", "2"])
    if layers != "all":
        stage = stage.replace(trainable_layers=int(layers))
    if schedule not in SEVERAL_TASKS_A_STEP:
        return stage
    gradients = trial.suggest_categorical("gradients", ["sum", "separate", "pcgrad", "gradvac"])
    return stage.replace(update="separate") if gradients == "separate" else stage.replace(surgery=gradients)


def _interleaved(trial: optuna.Trial, largest: int) -> dict[str, int]:
    """Choose the batch sizes by their ratios to the batch size of QQP."""
    ratios = {task: trial.suggest_float(f"batch_ratio_{task}", 1 / 16, 1, log=True) for task in ("sst", "sts")}
    return {"qqp": largest, **{task: max(1, round(largest * ratio)) for task, ratio in ratios.items()}}


def _further(trial: optuna.Trial) -> list[Stage]:
    """Choose a stage of further pretraining on the tasks' own texts, or none."""
    objective = trial.suggest_categorical("further", ["none", "mlm", "simcse"])
    if objective == "none":
        return []
    stage = Stage(
        objective=objective,
        tasks=tuple(ALL.split()),
        batch_schedule="shuffle",
        batch_size=16 if objective == "mlm" else 64,
        passes=trial.suggest_float("further_passes", 0.5, 3, log=True),
        learning_rate=trial.suggest_float("further_learning_rate", 1e-5, 2e-4, log=True),
    )
    if objective == "mlm":
        one = trial.suggest_categorical("mlm_one_token", [False, True])
        stage = stage.replace(mlm=MlmConfig(share="one" if one else 0.15))
    return [stage]


def _quora_first(trial: optuna.Trial, joint: Stage) -> list[Stage]:
    if not trial.suggest_categorical("quora_first", [False, True]):
        return []
    passes = trial.suggest_float("quora_passes", 0.25, 2, log=True)
    rest = {"learning_rate": joint.learning_rate, "trainable_layers": joint.trainable_layers}
    return [Stage(tasks=("qqp",), batch_size=8, passes=passes, **rest)]


def _regularisers(trial: optuna.Trial) -> dict[str, Any]:
    """Choose the regularisers beside dropout, and their settings."""
    chosen: dict[str, Any] = {}
    if trial.suggest_categorical("smart", [False, True]):
        chosen["smart"] = _smart(trial)
    if trial.suggest_categorical("bregman", [False, True]):
        mu = trial.suggest_float("mu", 0.01, 10, log=True)
        beta = trial.suggest_float("beta", 0.99, 0.999)
        chosen["bregman"] = BregmanConfig(mu=mu, beta=beta, early_beta=0.99)
    if trial.suggest_categorical("r_drop", [False, True]):
        chosen["regularisers"] = {"r_drop": trial.suggest_float("r_drop_weight", 0.1, 5, log=True)}
    return chosen


def _smart(trial: optuna.Trial) -> dict[str, SmartConfig]:
    radius = trial.suggest_float("radius", 3e-3, 0.1, log=True)
    smart = SmartConfig(
        lambda_s=trial.suggest_float("lambda_s", 0.03, 30, log=True),
        radius=radius,
        step_size=radius,
        noise_scale=radius / 100,
        every=trial.suggest_int("smart_every", 1, 4),
    )
    return dict.fromkeys(trial.suggest_categorical("smart_tasks", [ALL, "sst", "sst sts"]).split(), smart)


def _averaging(trial: optuna.Trial) -> AveragingConfig:
    chosen: dict[str, Any] = {"kind": trial.suggest_categorical("averaging", ["none", "ema", "swa"])}
    if chosen["kind"] == "ema":
        chosen["beta"] = trial.suggest_float("averaging_beta", 0.98, 0.9999)
    return AveragingConfig(**chosen)


def _optimizer(trial: optuna.Trial) -> OptimizerConfig:
    return OptimizerConfig(
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 0.3, log=True),
        warmup=trial.suggest_float("warmup", 0.0, 0.3),
        decay=trial.suggest_categorical("decay", [True, False]),
        layer_decay=trial.suggest_float("layer_decay", 0.7, 1.0),
    )
