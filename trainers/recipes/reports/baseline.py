"""What the reports have in common: the course's optimiser and dropouts, heads of two of them, SMART as published."""

from typing import Any, Literal

from trainers.config.architecture import HeadConfig
from trainers.config.optimizer_config import OptimizerConfig
from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.smart import SmartConfig

TASKS = ("sst", "qqp", "sts")
ADAMW = OptimizerConfig(eps=1e-6, weight_decay=0.0, clip_norm=None, warmup=0.0, decay=False)
"""The course's defaults; no report tells of a warm-up, a decay or a clip."""
U_V = HeadConfig(features="u_v")
"""A linear layer on both sides of a pair."""
SBERT = {"qqp": HeadConfig(features="u_v_difference"), "sts": HeadConfig(output="cosine")}
"""Report 001's heads, and report 002's in its row Cos-Sim: [u; v; |u - v|] for QQP, the cosine for STS."""


def baseline(*stages: Stage, **changes: Any) -> TrainConfig:
    """Return a config with the course's optimiser and dropouts: .1 in the encoder, as pretrained, .3 before the heads.

    Reports 000 and 001 speak of a dropout of 10 % and of one of .3: the course's code builds the encoder with its own,
    and takes the command line's .3 for the heads only. Report 004 states neither and started from the same code.
    """
    return TrainConfig(**{"stages": stages, "optimizer": ADAMW, "head_dropout": 0.3, **changes})


def published_smart(
    lambda_s: float, *, radius: float = 1e-5, dropout: Literal["tied", "off", "untied"] = "tied"
) -> SmartConfig:
    """Return SMART with its paper's constants: reports 001 and 003 print them, 000 nearly, 002 and 004 give none.

    With them the term is inert: its gradient is a hundred-thousandth of the loss's. Only reports 000 and 001 say which
    norm, the maximum. They divide the gradient by its largest entry where we take its sign; with steps a hundred radii
    long and more, most coordinates end on the bound either way.

    Source: Jiang et al. 2020 (SMART): epsilon 1e-5, sigma 1e-5, eta 1e-3, K 1.
    """
    return SmartConfig(
        lambda_s=lambda_s, norm="linf", radius=radius, step_size=1e-3, noise_scale=1e-5, ascent_steps=1, dropout=dropout
    )
