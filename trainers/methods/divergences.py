"""Two outputs of a head -> how far apart the predictions are that they stand for, row by row."""

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.tasks import Kind

Divergence = Callable[[Tensor, Tensor], Tensor]
"""(outputs [rows, outputs], outputs [rows, outputs]) -> [rows]; 0 where they agree, and the order does not matter."""


def symmetric_kl(left: Tensor, right: Tensor) -> Tensor:
    """Return KL(p||q) + KL(q||p) [rows] of the classes under logits [rows, classes].

    Source: Jiang et al. 2020 (SMART), section 3.1.
    """
    # The softmax of one logit is 1, whatever the logit: this divergence would be 0 and nothing would tell.
    assert left.shape[-1] > 1
    log_p, log_q = _wide(left).log_softmax(-1), _wide(right).log_softmax(-1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)


def symmetric_bernoulli_kl(left: Tensor, right: Tensor) -> Tensor:
    """Return KL(p||q) + KL(q||p) [rows] of a yes or no under its logit [rows, 1]: two classes with logits 0 and z."""
    left, right = _wide(left), _wide(right)
    return ((left.sigmoid() - right.sigmoid()) * (left - right)).sum(-1)


def squared_difference(left: Tensor, right: Tensor) -> Tensor:
    """Return the squared difference [rows] of values [rows, 1], in squared label units."""
    return (_wide(left) - _wide(right)).square().sum(-1)


DIVERGENCES: dict[Kind, Divergence] = {
    "classification": symmetric_kl,
    "binary": symmetric_bernoulli_kl,
    "regression": squared_difference,
}


def _wide(outputs: Tensor) -> Tensor:
    """Leave half precision: the divergence of two near outputs would be its rounding."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
