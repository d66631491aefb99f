"""Task heads: compute a task's outputs from the encoder's features. The registries hold the parts of a head."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from model.dropout import Dropout


@dataclass(frozen=True)
class PairFeatures:
    """A way to combine the features of two sequences that were encoded separately."""

    width: Callable[[int], int]
    """(width of the encoder) -> number of features."""
    function: Callable[[Tensor, Tensor], Tensor]
    """(u, v), the features of both sides, [rows, width] each -> [rows, features]."""


def u_v(u: Tensor, v: Tensor) -> Tensor:
    """Concatenate u and v [rows, width] to [rows, 2 width]."""
    return torch.cat([u, v], dim=-1)


def u_v_difference(u: Tensor, v: Tensor) -> Tensor:
    """Concatenate u, v and abs(u - v), [rows, width] each, to [rows, 3 width].

    Source: Reimers and Gurevych 2019 (Sentence-BERT), classification objective.
    """
    return torch.cat([u, v, (u - v).abs()], dim=-1)


def hadamard(u: Tensor, v: Tensor) -> Tensor:
    """Return the summands of the cosine of u and v [rows, width] as [rows, width].

    Source: report 001, relational layer.
    """
    return u * v / (u.norm(dim=-1, keepdim=True) * v.norm(dim=-1, keepdim=True) + 1e-8)


def relational(u: Tensor, v: Tensor) -> Tensor:
    """Concatenate u, v, abs(u - v) and the summands of the cosine, [rows, width] each, to [rows, 4 width].

    Source: report 001, relational layer.
    """
    return torch.cat([u_v_difference(u, v), hadamard(u, v)], dim=-1)


def cosine(u: Tensor, v: Tensor) -> Tensor:
    """Return the cosine similarity of u and v [rows, width] as [rows, 1], from -1 to 1."""
    # At least float32: near 1, the cosine of similar sentences, neighbouring bfloat16 numbers are 0.004 apart.
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
    """Map any number to the range of the labels with a sigmoid."""

    def __init__(self, low: float, high: float):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, values: Tensor) -> Tensor:
        """Return `values` [...] mapped to between low and high."""
        return self.low + (self.high - self.low) * values.sigmoid()


class ScaledCosine(nn.Module):
    """Map the last feature, a cosine, linearly to the range of the labels: -1 becomes low, 1 becomes high."""

    def __init__(self, low: float, high: float):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, features: Tensor) -> Tensor:
        """Return the features [rows, features] with the last one mapped."""
        others, last = features[:, :-1], features[:, -1:]
        return torch.cat([others, self.low + (self.high - self.low) * (last + 1) / 2], dim=-1)


class Stairs(nn.Module):
    """Move values towards the nearest integer, for labels that are mostly integers; the order of values is kept.

    The steepness is learned. It ranges from a straight line to stairs that are flat at the integers.
    """

    def __init__(self):
        super().__init__()
        self.steepness = nn.Parameter(torch.zeros(()))  # input of a sigmoid: 0 is half the steepness

    def forward(self, values: Tensor) -> Tensor:
        """Return `values` [...], in label units, moved towards integers."""
        return values - self.steepness.sigmoid() * torch.sin(2 * math.pi * values) / (2 * math.pi)


OUTPUTS: dict[str, Callable[[float, float], nn.Module]] = {
    "linear": lambda low, high: nn.Identity(),
    "sigmoid": ScaledSigmoid,
    "stairs": lambda low, high: Stairs(),
    "cosine": ScaledCosine,
}
"""(low, high), the range of the labels -> module that maps values [rows, outputs] to values of the same shape."""


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
    """Build a head that maps [rows, features] to [rows, outputs]; torch's global generator draws the weights.

    Args:
        features: number of input features.
        outputs: number of outputs.
        low, high: smallest and largest label.
        initial_output: approximate output of the untrained head, in label units or as a logit.
        dropout: dropout probability before every linear layer.
        hidden: widths of the hidden layers.
        activation: activation after each hidden layer, a name in `ACTIVATIONS`.
        output: map from the last layer to values, a name in `OUTPUTS`. A "cosine" head has no layers: its only feature
            is the cosine.
        cosine: whether the last feature is a cosine, which the head first maps to label units.
    """
    if output == "cosine":
        return OUTPUTS[output](low, high)
    layers: list[nn.Module] = [ScaledCosine(low, high)] if cosine else []
    layers += [Dropout(dropout)]
    for width in hidden:
        layers += [_linear(features, width), ACTIVATIONS[activation](), Dropout(dropout)]
        features = width
    # For an input of 0, the scaled sigmoid returns the middle of the label range.
    layers += [_linear(features, outputs, 0.0 if output == "sigmoid" else initial_output), OUTPUTS[output](low, high)]
    return nn.Sequential(*layers)


def build_shared_layer(features: int, width: int, *, activation: str, dropout: float) -> nn.Module:
    """Build a layer that several heads share; it maps [rows, features] to [rows, width].

    Torch's global generator draws the weights.
    """
    return nn.Sequential(Dropout(dropout), _linear(features, width), ACTIVATIONS[activation]())


def _linear(features: int, outputs: int, initial_output: float = 0.0) -> nn.Linear:
    layer = nn.Linear(features, outputs)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.constant_(layer.bias, initial_output)
    return layer
