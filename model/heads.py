"""From a sequence's features to a task's outputs: heads, and the features of two sequences encoded apart."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


def linear(features: int, outputs: int, dropout: float, start: float) -> nn.Module:
    """Build dropout, then a linear map, [rows, features] -> [rows, outputs], whose outputs begin near `start`."""
    layer = nn.Linear(features, outputs)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.constant_(layer.bias, start)
    return nn.Sequential(nn.Dropout(dropout), layer)


# (features, outputs, dropout, start) -> head.
HEADS: dict[str, Callable[[int, int, float, float], nn.Module]] = {"linear": linear}


@dataclass(frozen=True)
class PairFeatures:
    """A way to join two sequences that were encoded apart."""

    width: int
    """Features, as a multiple of the encoder's width."""
    function: Callable[[Tensor, Tensor], Tensor]
    """Both sides, [rows, width] each -> [rows, features]."""


def u_v(u: Tensor, v: Tensor) -> Tensor:
    """Put both sides side by side, [rows, width] each -> [rows, 2 width]."""
    return torch.cat([u, v], dim=-1)


def u_v_difference(u: Tensor, v: Tensor) -> Tensor:
    """Put both sides and how far they differ side by side, [rows, width] each -> [rows, 3 width].

    Source: Reimers and Gurevych 2019 (Sentence-BERT), classification objective.
    """
    return torch.cat([u, v, (u - v).abs()], dim=-1)


PAIR_FEATURES: dict[str, PairFeatures] = {
    "u_v": PairFeatures(2, u_v),
    "u_v_difference": PairFeatures(3, u_v_difference),
}
