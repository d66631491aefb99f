"""Search space of the model above the encoder: pair encoding, pair features, heads, a shared layer."""

from typing import Any

import optuna

from trainers.config import HeadConfig, SharedLayer, TrainConfig
from trainers.recipes import plain

HIDDEN = {"none": (), "one": (1.0,), "two": (1.0, 0.25)}
ACTIVATIONS = ["relu", "gelu", "tanh", "leaky_relu"]
FEATURES = ["u_v", "u_v_difference", "hadamard", "relational"]
"""Features of separately encoded pairs. The cosine is not here: a shared layer needs more than one number."""

NO_LAYERS = {"hidden_sst": "none", "hidden_qqp": "none", "hidden_sts": "none", "output_sts": "linear"}
CONCATENATED = {"pooling": "pooled", "head_dropout": 0.1, "pairs": "concatenated", "shared_layer": False}
CONCATENATED |= {"cosine_qqp": False, "cosine_sts": False}
SEPARATE = {"pooling": "pooled", "head_dropout": 0.1, "pairs": "separate"}
ONE_HIDDEN = {"hidden_sst": "one", "activation_sst": "relu"}

START: list[dict[str, Any]] = [
    CONCATENATED | NO_LAYERS,  # reports 002 and 004
    # report 000
    CONCATENATED | NO_LAYERS | ONE_HIDDEN | {"hidden_qqp": "one", "activation_qqp": "relu", "output_sts": "sigmoid"},
    # report 003, without and with its cosine
    CONCATENATED | NO_LAYERS | ONE_HIDDEN | {"shared_layer": True, "shared_activation": "relu"},
    CONCATENATED | NO_LAYERS | ONE_HIDDEN | {"shared_layer": True, "shared_activation": "relu", "cosine_sts": True},
    # report 004's heads with hidden layers
    CONCATENATED
    | {"hidden_sst": "one", "hidden_qqp": "two", "hidden_sts": "two", "output_sts": "linear"}
    | {f"activation_{task}": "relu" for task in ("sst", "qqp", "sts")},
    # report 002's baseline
    SEPARATE | NO_LAYERS | {"shared_layer": False, "features_qqp": "u_v", "features_sts": "u_v"},
    # report 001, and report 002's cosine
    SEPARATE
    | {"shared_layer": False, "features_qqp": "u_v_difference", "features_sts": "cosine"}
    | {"hidden_sst": "none", "hidden_qqp": "none"},
    # report 001's relational layer
    SEPARATE | NO_LAYERS | {"shared_layer": True, "shared_activation": "leaky_relu", "features": "relational"},
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary the encoding of pairs, their features, and the heads of the three tasks."""
    pairs = trial.suggest_categorical("pairs", ["concatenated", "separate"])
    shared = trial.suggest_categorical("shared_layer", [False, True])
    layers = ()
    if shared:
        activation = trial.suggest_categorical("shared_activation", ACTIVATIONS)
        layers = (SharedLayer(tasks=("qqp", "sts"), activation=activation),)
    return plain().replace(
        pairs=pairs,
        pooling=trial.suggest_categorical("pooling", ["pooled", "first", "mean"]),
        head_dropout=trial.suggest_float("head_dropout", 0.0, 0.3),
        shared_layers=layers,
        head={
            "sst": HeadConfig(**_layers(trial, "sst")),
            "qqp": HeadConfig(**_features(trial, "qqp", pairs, shared), **_layers(trial, "qqp")),
            "sts": _sts(trial, _features(trial, "sts", pairs, shared)),
        },
    )


def _sts(trial: optuna.Trial, features: dict[str, Any]) -> HeadConfig:
    """Return STS's head. If the cosine is the only feature, it is also the output."""
    if features.get("features") == "cosine":
        return HeadConfig(output="cosine")
    output = trial.suggest_categorical("output_sts", ["linear", "sigmoid", "stairs"])
    return HeadConfig(**features, **_layers(trial, "sts"), output=output)


def _features(trial: optuna.Trial, task: str, pairs: str, shared: bool) -> dict[str, Any]:
    """Choose the features of a pair task. Tasks that share a layer have the same features."""
    if pairs == "concatenated":
        return {"cosine": trial.suggest_categorical(f"cosine_{task}", [False, True])}
    if shared:
        return {"features": trial.suggest_categorical("features", FEATURES)}
    return {"features": trial.suggest_categorical(f"features_{task}", [*FEATURES, "cosine"])}


def _layers(trial: optuna.Trial, task: str) -> dict[str, Any]:
    """Choose a head's hidden layers."""
    hidden = HIDDEN[trial.suggest_categorical(f"hidden_{task}", list(HIDDEN))]
    if not hidden:
        return {}
    return {"hidden": hidden, "activation": trial.suggest_categorical(f"activation_{task}", ACTIVATIONS)}
