"""Matrix products in bfloat16, where a machine multiplies twice as many of such numbers a second."""

from collections.abc import Callable
from functools import wraps
from typing import Protocol

import torch
from torch import Tensor


class HasPrecision(Protocol):
    """Whatever may multiply in bfloat16."""

    low_precision: bool


def in_chosen_precision(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a method of an encoder multiply in bfloat16, if its owner does.

    What leaves it has the numbers of what enters; so have weights, norms and what layers add to hidden states.
    """

    @wraps(method)
    def run(self: HasPrecision, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        if not self.low_precision:
            return method(self, embedded, offsets, segments)
        with torch.autocast(embedded.device.type, torch.bfloat16):
            return method(self, embedded, offsets, segments).to(embedded.dtype)

    return run
