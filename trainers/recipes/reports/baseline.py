"""Settings that several reports share: the course's optimiser and dropouts, two heads, SMART as published."""

from typing import Any, Literal

from trainers.config.architecture import HeadConfig
from trainers.config.optimizer_config import OptimizerConfig
from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.smart import SmartConfig

TASKS = ("sst", "qqp", "sts")
ADAMW = OptimizerConfig(eps=1e-6, weight_decay=0.0, clip_norm=None, warmup=0.0, decay=False)
"""The course's defaults. No report mentions warm-up, decay of the learning rate or clipping."""
U_V = HeadConfig(features="u_v")
"""A linear layer on the features of both sentences of a pair."""
SBERT = {"qqp": HeadConfig(features="u_v_difference"), "sts": HeadConfig(output="cosine")}
"""Heads of report 001, and of the row Cos-Sim in report 002: [u; v; |u - v|] for QQP, the cosine for STS."""


def baseline(*stages: Stage, **changes: Any) -> TrainConfig:
    """Return a config with the course's optimiser and dropouts: .1 in the encoder, as in pretraining, .3 before heads.

    Reports 000 and 001 mention a dropout of 10 % and a dropout of .3. In the course's code the encoder keeps the
    dropout of its checkpoint, and the .3 of the command line applies to the heads only. Report 004 states no dropout,
    and its authors started from the same code.
    """
    return TrainConfig(**{"stages": stages, "optimizer": ADAMW, "head_dropout": 0.3, **changes})


def published_smart(
    lambda_s: float, *, radius: float = 1e-5, dropout: Literal["tied", "off", "untied"] = "tied"
) -> SmartConfig:
    """Return SMART with the constants of its paper.

    Reports 001 and 003 print these constants, report 000 prints similar ones, reports 002 and 004 print none. With them
    the smoothness term has almost no effect: its gradient is a hundred-thousandth of the loss's. Only reports 000 and
    001 name the norm, which is the maximum norm. They divide the gradient by its largest entry, and we take its sign;
    because a step is a hundred times as long as the radius or longer, most coordinates end on the bound in both cases.

    Source: Jiang et al. 2020 (SMART): epsilon 1e-5, sigma 1e-5, eta 1e-3, K 1.
    """
    return SmartConfig(
        lambda_s=lambda_s, norm="linf", radius=radius, step_size=1e-3, noise_scale=1e-5, ascent_steps=1, dropout=dropout
    )
