"""From a sequence's features to a task's outputs: pair features, activations, what an output means."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from model.dropout import Dropout


@dataclass(frozen=True)
class PairFeatures:
    """A way to join two sequences that were encoded apart."""

    width: Callable[[int], int]
    """Encoder's width -> features."""
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


def hadamard(u: Tensor, v: Tensor) -> Tensor:
    """Return the terms whose sum is the cosine, [rows, width] each -> [rows, width].

    Source: report 001, relational layer.
    """
    return u * v / (u.norm(dim=-1, keepdim=True) * v.norm(dim=-1, keepdim=True) + 1e-8)


def relational(u: Tensor, v: Tensor) -> Tensor:
    """Put both sides, how far they differ and the cosine's terms side by side, [rows, width] each -> [rows, 4 width].

    Source: report 001, relational layer.
    """
    return torch.cat([u_v_difference(u, v), hadamard(u, v)], dim=-1)


def cosine(u: Tensor, v: Tensor) -> Tensor:
    """Return the cosine of the angle between the sides, [rows, width] each -> [rows, 1], -1 to 1."""
    # At least float32: near 1, where alike sentences lie, bfloat16 tells steps of .004 apart.
    precise = torch.promote_types(u.dtype, torch.float32)
    return hadamard(u.to(precise), v.to(precise)).sum(dim=-1, keepdim=True)


PAIR_FEATURES: dict[str, PairFeatures] = {
    "u_v": PairFeatures(lambda width: 2 * width, u_v),
    "u_v_difference": PairFeatures(lambda width: 3 * width, u_v_difference),
    "hadamard": PairFeatures(lambda width: width, hadamard),
    "relational": PairFeatures(lambda width: 4 * width, relational),
    "cosine": PairFeatures(lambda width: 1, cosine),
}

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "leaky_relu": partial(nn.LeakyReLU, 0.01),
}


class ScaledSigmoid(nn.Module):
    """Bring any number into the range of the labels."""

    def __init__(self, low: float, high: float):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, values: Tensor) -> Tensor:
        """Return values [...] between low and high."""
        return self.low + (self.high - self.low) * values.sigmoid()


class ScaledCosine(nn.Module):
    """Bring the last feature, a cosine, to the range of the labels: -1 becomes low, 1 high."""

    def __init__(self, low: float, high: float):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, features: Tensor) -> Tensor:
        """Return the features [rows, features]; all but the last as they were."""
        others, last = features[:, :-1], features[:, -1:]
        return torch.cat([others, self.low + (self.high - self.low) * (last + 1) / 2], dim=-1)


class Stairs(nn.Module):
    """Draw values towards integers, for labels that gather there; the order of values stays.

    How steep the stairs are is learned: between a straight line and steps that are flat at the integers.
    """

    def __init__(self):
        super().__init__()
        self.steepness = nn.Parameter(torch.zeros(()))  # before a sigmoid: 0 is half way

    def forward(self, values: Tensor) -> Tensor:
        """Return values [...] in label units."""
        return values - self.steepness.sigmoid() * torch.sin(2 * math.pi * values) / (2 * math.pi)


OUTPUTS: dict[str, Callable[[float, float], nn.Module]] = {
    "linear": lambda low, high: nn.Identity(),
    "sigmoid": ScaledSigmoid,
    "stairs": lambda low, high: Stairs(),
    "cosine": ScaledCosine,
}
"""(low, high), the range of the labels -> a map of values [rows, outputs]."""


def build_head(
    features: int,
    outputs: int,
    *,
    low: float,
    high: float,
    initial_output: float,
    dropout: float,
    hidden: tuple[int, ...] = (),
    activation: str = "relu",
    output: str = "linear",
    cosine: bool = False,
) -> nn.Module:
    """Build a head, [rows, features] -> [rows, outputs]; it draws from torch's global generator.

    Args:
        low, high: smallest and largest label.
        start: what an untrained head puts out, about, in label units or as a logit.
        hidden: widths of hidden layers.
        activation: after each of them, a name of `ACTIVATIONS`.
        output: how the last numbers become values, a name of `OUTPUTS`; "cosine" is no layers at all, because its one
            feature is the cosine.
        cosine: whether the last feature is a cosine, to be brought to label units.
    """
    if output == "cosine":
        return OUTPUTS[output](low, high)
    layers: list[nn.Module] = [ScaledCosine(low, high)] if cosine else []
    layers += [Dropout(dropout)]
    for width in hidden:
        layers += [_linear(features, width), ACTIVATIONS[activation](), Dropout(dropout)]
        features = width
    # A sigmoid is at the middle of the labels' range where its argument is 0.
    layers += [_linear(features, outputs, 0.0 if output == "sigmoid" else initial_output), OUTPUTS[output](low, high)]
    return nn.Sequential(*layers)


def build_shared_layer(features: int, width: int, *, activation: str, dropout: float) -> nn.Module:
    """Build a layer below several heads, [rows, features] -> [rows, width]; it draws from torch's global generator."""
    return nn.Sequential(Dropout(dropout), _linear(features, width), ACTIVATIONS[activation]())


def _linear(features: int, outputs: int, initial_output: float = 0.0) -> nn.Linear:
    layer = nn.Linear(features, outputs)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.constant_(layer.bias, initial_output)
    return layer
