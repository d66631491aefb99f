"""Let an encoder multiply matrices in bfloat16, which some machines do twice as fast as in float32."""

from collections.abc import Callable
from functools import wraps
from typing import Protocol

import torch
from torch import Tensor


class HasPrecision(Protocol):
    """A module that may multiply in bfloat16."""

    low_precision: bool


def in_chosen_precision(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make an encoder's method multiply matrices in bfloat16 if the encoder's `low_precision` is set.

    The result has the number type of the input. Weights, norms and residual sums keep their type, too.
    """

    @wraps(method)
    def run(self: HasPrecision, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        if not self.low_precision:
            return method(self, embedded, offsets, segments)
        with torch.autocast(embedded.device.type, torch.bfloat16):
            return method(self, embedded, offsets, segments).to(embedded.dtype)

    return run
