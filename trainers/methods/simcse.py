"""SimCSE: contrastive learning of sentence features."""

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn import functional

from trainers.settings import Config


class SimcseConfig(Config):
    """Settings of contrastive learning."""

    supervised: bool = Field(
        default=False,
        description="Take a sentence's positive, and a hard negative, from the other columns of its row; "
        "otherwise the positive is the sentence itself under other dropout masks.",
    )
    temperature: PositiveFloat = Field(default=0.05, description="Temperature (tau) that cosines are divided by.")


def contrast(anchors: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy [] of recognising each anchor's positive among all candidates by cosine.

    Args:
        anchors: [rows, width].
        candidates: [rows + negatives, width]; the first `rows` are the anchors' positives, in the same order.

    Source: Gao et al. 2021 (SimCSE), equations 1 and 5; the further candidates are the hard negatives.
    """
    cosines = functional.normalize(anchors.float(), dim=-1) @ functional.normalize(candidates.float(), dim=-1).T
    return functional.cross_entropy(cosines / temperature, torch.arange(len(anchors), device=anchors.device))
