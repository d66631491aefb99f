"""Dropout. On a CPU its masks come from numpy, whose generator fills memory twenty times as fast as torch's."""

import math
from weakref import ref

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

PROBABILITY_STEPS = 2**16
"""Probabilities are multiples of one in so many: a mask takes 16 random bits for each number."""
LIVE_MASKS: dict[tuple[int, int, int], ref[np.ndarray]] = {}
"""Masks that a graph may still need: a second pass with the same draws multiplies by the same numbers.

Not a `WeakValueDictionary`: it runs Python when a mask goes, amid a backward pass, and would swallow a Ctrl-C there.
"""


class Dropout(nn.Dropout):
    """Set numbers to 0 with a probability, and stretch the others so that the mean stays; in training mode only.

    Masks follow torch's global generator.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with some of its numbers dropped, in its shape."""
        return apply_dropout(input, self.p) if self.training else input


def apply_dropout(values: Tensor, probability: float) -> Tensor:
    """Return the values with some dropped, in their shape; on a CPU what is dropped from is at least float32."""
    if values.device.type != "cpu":
        return functional.dropout(values, probability)
    return values * mask(values.shape, probability) if probability else values


def mask(shape: torch.Size, probability: float) -> Tensor:
    """Draw what dropout multiplies numbers by: 0, or what makes up for those that are lost; float32, on the CPU.

    It is not to be written to: it may be shared with other masks of the same draw.
    """
    count, lost = math.prod(shape), min(round(probability * PROBABILITY_STEPS), PROBABILITY_STEPS - 1)
    seed = int(torch.randint(2**63 - 1, ()))
    held = LIVE_MASKS.get((seed, count, lost))
    kept = held and held()
    if kept is None:
        for old, gone in list(LIVE_MASKS.items()):
            if gone() is None:
                del LIVE_MASKS[old]
        drawn = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.uint16)[:count]
        kept = np.multiply(drawn >= lost, np.float32(PROBABILITY_STEPS / (PROBABILITY_STEPS - lost)))
        LIVE_MASKS[seed, count, lost] = ref(kept)
    return torch.from_numpy(kept).view(shape)
