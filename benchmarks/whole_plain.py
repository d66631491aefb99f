"""The single training of `benchmarks.whole`: the best known plain config, chosen on rows of another sample."""

import optuna

from trainers.config.train_config import TrainConfig
from trainers.recipes.joint import plain


def suggest(trial: optuna.Trial) -> TrainConfig:
    """Return the config; nothing varies."""
    stage = plain().stages[0].replace(batch_schedule="shuffle", learning_rate=8e-5, passes=3)
    return plain().replace(dropout=0.0, head_dropout=0.0, attention_dropout=0.0, pooling="mean", stages=(stage,))
