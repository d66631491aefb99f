"""Report 002, *SMART Fine-tuning*: its recipes and printed scores.

The systems use concatenated pairs, the sum of the three losses, SMART, a first stage on Quora, and an ensemble of five
models.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from trainers.config.train_config import Stage, TrainConfig
from trainers.recipes.reports.baseline import SBERT, TASKS, U_V, baseline, published_smart
from trainers.recipes.reports.printed_rows import Table
from trainers.recipes.systems import ROUNDS_BEFORE, EnsembleOf, Recipe

SMART = published_smart(1.0)
"""The report gives lambda only. It describes Bregman without a weight, so Bregman is off."""
DROPOUT = 0.3
"""Dropout of hidden states and of the pooled output. Only this report says that it set the encoder's dropout, too."""
SIMULTANEOUS = Stage(tasks=TASKS, batch_schedule="simultaneous", batch_size=8, learning_rate=1e-5, epochs=10, rounds=10)
"""An epoch passes over SST once. STS starts again within an epoch; QQP continues from epoch to epoch."""


def alone(task: str, *, epochs: float = 10, rounds: int = ROUNDS_BEFORE) -> Stage:
    """Return a stage that trains one task."""
    return Stage(tasks=(task,), batch_size=8, learning_rate=1e-5, epochs=epochs, rounds=rounds)


def system(*stages: Stage, dropout: float = DROPOUT, **changes: Any) -> TrainConfig:
    """Return a config with the same dropout in the encoder and before the heads."""
    return baseline(*stages, dropout=dropout, head_dropout=dropout, **changes)


def sequential(**changes: Any) -> TrainConfig:
    """Train QQP, then STS, then SST.

    The report trains QQP for "one to two" epochs and the others for ten. We take two, because the report says one of
    the pretraining before a joint stage.
    """
    return system(alone("qqp", epochs=2), alone("sts"), alone("sst", rounds=10), **changes)


def simultaneous(**changes: Any) -> TrainConfig:
    """Train all tasks together, each step on the sum of their losses."""
    return system(SIMULTANEOUS, **changes)


def pretrained(*, lambda_s: float = 1.0, surgery: str = "sum", **changes: Any) -> TrainConfig:
    """Train one epoch of QQP, then all tasks together, both with SMART."""
    joint = SIMULTANEOUS.replace(surgery=surgery)
    return system(alone("qqp", epochs=1), joint, smart=SMART.replace(lambda_s=lambda_s), **changes)


RECIPES: dict[str, Callable[[], Recipe]] = {
    "r002-baseline": partial(sequential, pairs="separate", head=U_V),
    "r002-cos-sim": partial(sequential, pairs="separate", head=SBERT),
    "r002-concat": sequential,
    "r002-concat-smart": partial(sequential, smart=SMART),
    "r002-concat-smart-simul": partial(simultaneous, smart=SMART),
    "r002-concat-smart-pretrain": pretrained,
    "r002-concat-smart-surgery-pretrain": partial(pretrained, surgery="pcgrad"),
    **{
        f"r002-concat-smart-pretrain-l{lambda_s}-d{percent}": partial(
            pretrained, lambda_s=lambda_s, dropout=percent / 100
        )
        for lambda_s in (1, 5)
        for percent in (10, 20, 30, 40, 50)
    },
    # The report does not name the members. We take the five best rows of its grid, with the mode of the classes and the
    # median of the values.
    "r002-ensemble": partial(
        EnsembleOf,
        tuple(f"r002-concat-smart-pretrain-{swept}" for swept in ("l5-d10", "l5-d40", "l1-d20", "l5-d30", "l1-d10")),
        "vote_median",
    ),
}

UNSCORED: dict[str, Callable[[], Recipe]] = {
    f"r002-sst-lambda-{value}": partial(system, alone("sst", rounds=10), smart=SMART.replace(lambda_s=value))
    for value in (0.5, 1, 5)
}
"""The named points of a curve."""

_RESULTS = Table("002", "results", formula="overall")
_SWEEP = Table("002", "lambda and dropout", formula="overall")
_ENSEMBLE_DEV = Table("002", "ensemble", formula="overall")
_ENSEMBLE_TEST = Table("002", "ensemble", split="test", formula="overall")

ROWS = [
    _RESULTS.row("r002-baseline", "Baseline", 0.506, 0.673, 0.224, 0.597),
    _RESULTS.row("r002-cos-sim", "Cos-Sim", 0.507, 0.787, 0.394, 0.664),
    _RESULTS.row("r002-concat", "Concat", 0.494, 0.795, 0.833, 0.735),
    _RESULTS.row("r002-concat-smart", "Concat+SMART", 0.530, 0.782, 0.771, 0.733),
    _RESULTS.row("r002-concat-smart-simul", "Concat+SMART*", 0.510, 0.883, 0.874, 0.777),
    _RESULTS.row("r002-concat-smart-pretrain", "Concat+SMART+Pretrain", 0.530, 0.906, 0.873, 0.791),
    _RESULTS.row("r002-concat-smart-surgery-pretrain", "Concat+SMART+Surgery+Pretrain", 0.533, 0.904, 0.864, 0.790),
    _SWEEP.row("r002-concat-smart-pretrain-l1-d10", "lambda 1, dropout .1", 0.536, 0.905, 0.884, 0.794),
    _SWEEP.row("r002-concat-smart-pretrain-l1-d20", "lambda 1, dropout .2", 0.546, 0.900, 0.888, 0.797),
    _SWEEP.row("r002-concat-smart-pretrain-l1-d30", "lambda 1, dropout .3", 0.530, 0.906, 0.873, 0.791),
    _SWEEP.row("r002-concat-smart-pretrain-l1-d40", "lambda 1, dropout .4", 0.536, 0.900, 0.888, 0.793),
    _SWEEP.row("r002-concat-smart-pretrain-l1-d50", "lambda 1, dropout .5", 0.537, 0.897, 0.884, 0.792),
    _SWEEP.row("r002-concat-smart-pretrain-l5-d10", "lambda 5, dropout .1", 0.544, 0.904, 0.893, 0.798),
    _SWEEP.row("r002-concat-smart-pretrain-l5-d20", "lambda 5, dropout .2", 0.530, 0.905, 0.895, 0.794),
    _SWEEP.row("r002-concat-smart-pretrain-l5-d30", "lambda 5, dropout .3", 0.540, 0.902, 0.889, 0.796),
    _SWEEP.row("r002-concat-smart-pretrain-l5-d40", "lambda 5, dropout .4", 0.544, 0.905, 0.889, 0.798),
    _SWEEP.row("r002-concat-smart-pretrain-l5-d50", "lambda 5, dropout .5", 0.530, 0.903, 0.884, 0.792),
    _ENSEMBLE_DEV.row("r002-ensemble", "Ensemble with parameter tuning", 0.545, 0.908, 0.894, 0.800),
    _ENSEMBLE_TEST.row("r002-ensemble", "Ensemble with parameter tuning", 0.540, 0.908, 0.893, 0.798),
]
