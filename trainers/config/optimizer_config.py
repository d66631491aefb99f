"""Settings of the optimiser and of the learning-rate schedule."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat

from trainers.settings import Config

Share = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Config):
    """Settings of AdamW and of the learning-rate schedule of a stage."""

    betas: tuple[Share, Share] = Field(default=(0.9, 0.999), description="AdamW's decay rates of both moments.")
    eps: PositiveFloat = Field(default=1e-8, description="AdamW's epsilon.")
    weight_decay: NonNegativeFloat = Field(
        default=0.01, description="Weight decay of matrices; biases and normalisation layers have none."
    )
    clip_norm: PositiveFloat | None = Field(
        default=1.0, description="Largest norm of the gradient, which is clipped to it; null for no clipping."
    )
    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="Share of a stage's steps in which the learning rate rises."
    )
    decay: bool = Field(default=True, description="Whether the learning rate falls linearly to 0 after the warm-up.")
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="Factor of the learning rate from each layer to the layer below it."
    )
