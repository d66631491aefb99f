"""Dropout. On a CPU the masks come from NumPy, whose generator is twenty times as fast as that of torch."""

import math
from weakref import ref

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

PROBABILITY_STEPS = 2**16
"""Probabilities are multiples of 1 / PROBABILITY_STEPS: a mask uses 16 random bits per element."""
LIVE_MASKS: dict[tuple[int, int, int], ref[np.ndarray]] = {}
"""Masks that an autograd graph may still use, by (seed, elements, threshold); equal draws share one mask.

This is no `WeakValueDictionary`: it runs Python code when a mask is freed. That happens during a backward pass, where
Python would print and ignore the KeyboardInterrupt of a Ctrl-C.
"""


class Dropout(nn.Dropout):
    """Set elements to 0 with a given probability and scale the others to keep the mean; in training mode only.

    The masks depend on torch's global generator.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` [...] with dropout."""
        return apply_dropout(input, self.p) if self.training else input


def apply_dropout(values: Tensor, probability: float) -> Tensor:
    """Return `values` [...] with dropout; on a CPU the result is float32 or higher precision."""
    if values.device.type != "cpu":
        return functional.dropout(values, probability)
    return values * dropout_mask(values.shape, probability) if probability else values


def dropout_mask(shape: torch.Size, probability: float) -> Tensor:
    """Draw the factors of dropout: 0 for dropped elements, 1 / (1 - probability) for the others; float32, on the CPU.

    Do not write to the mask: it may share memory with other masks of the same draw.
    """
    count, threshold = math.prod(shape), min(round(probability * PROBABILITY_STEPS), PROBABILITY_STEPS - 1)
    seed = int(torch.randint(2**63 - 1, ()))
    reference = LIVE_MASKS.get((seed, count, threshold))
    factors = reference and reference()
    if factors is None:
        for key, other in list(LIVE_MASKS.items()):
            if other() is None:
                del LIVE_MASKS[key]
        drawn = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.uint16)[:count]
        factors = np.multiply(drawn >= threshold, np.float32(PROBABILITY_STEPS / (PROBABILITY_STEPS - threshold)))
        LIVE_MASKS[seed, count, threshold] = ref(factors)
    return torch.from_numpy(factors).view(shape)
