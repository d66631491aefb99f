"""Features of sentences and of their likes -> how badly each finds its own: contrastive learning, SimCSE."""

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn import functional

from trainers.settings import Config


class SimcseConfig(Config):
    """What is a sentence's positive, and how sharp the contrast is."""

    supervised: bool = Field(default=False, description="Positives, and hard negatives, are a line's other sides.")
    temperature: PositiveFloat = Field(default=0.05, description="Tau: cosines are divided by it.")


def contrast(anchors: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy [] of finding each anchor's own candidate among all by cosine.

    Args:
        anchors: [rows, width].
        candidates: [rows + others, width]; the first `rows` are the anchors' own, in their order.

    Source: Gao et al. 2021 (SimCSE), equations 1 and 5 (hard negatives are the others).
    """
    cosines = functional.normalize(anchors.float(), dim=-1) @ functional.normalize(candidates.float(), dim=-1).T
    return functional.cross_entropy(cosines / temperature, torch.arange(len(anchors), device=anchors.device))
