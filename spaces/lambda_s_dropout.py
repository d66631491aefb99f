"""Search space of SMART's weight lambda and dropout, around the grid of report 002."""

from typing import Any

import optuna

from trainers.config import SmartConfig, TrainConfig
from trainers.recipes import smart

# Lambda and dropout of the grid's ten points, the best first. Their scores differ by at most .007.
START: list[dict[str, Any]] = [
    {"lambda_s": lambda_s, "dropout": dropout}
    for lambda_s, dropout in [
        *((5.0, 0.1), (5.0, 0.4), (1.0, 0.2), (5.0, 0.3), (1.0, 0.1)),
        *((5.0, 0.2), (1.0, 0.4), (1.0, 0.5), (5.0, 0.5), (1.0, 0.3)),
    ]
]


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Vary lambda, and the dropout of hidden states and heads, which is the same."""
    lambda_s = trial.suggest_float("lambda_s", 0.03, 30, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    return smart().replace(smart=SmartConfig(lambda_s=lambda_s), dropout=dropout, head_dropout=dropout)
