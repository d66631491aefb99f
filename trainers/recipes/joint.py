"""The project's own recipes: train SST, QQP and STS jointly, plainly or with SMART or PCGrad."""

from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.smart import SmartConfig

JOINT = Stage(passes=1.5, rounds=6, batch_schedule="smart_round_robin", batch_size=8, learning_rate=2e-4)
"""The stage of joint training on SST, QQP and STS. An epoch takes every row of every task once."""
SMART = SmartConfig(lambda_s=1.0)
"""SMART with our default radius. At the papers' epsilon its gradient is a hundred-thousandth of the task loss's."""


def plain() -> TrainConfig:
    """Train the three tasks jointly: concatenated pairs, dropout as in pretraining, no regulariser, no surgery."""
    return TrainConfig(stages=(JOINT,))


def smart() -> TrainConfig:
    """Train as `plain` does, with SMART on every task."""
    return TrainConfig(stages=(JOINT,), smart=SMART)


def pcgrad() -> TrainConfig:
    """Train as `plain` does, with PCGrad."""
    return TrainConfig(stages=(JOINT.replace(surgery="pcgrad"),))
