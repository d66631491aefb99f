"""Divergences between two outputs of a task's head, by the kind of the task."""

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.tasks import Kind

Divergence = Callable[[Tensor, Tensor], Tensor]
"""(outputs [rows, outputs], outputs [rows, outputs]) -> [rows]. Symmetric, and 0 for equal predictions."""


def symmetric_kl(left: Tensor, right: Tensor) -> Tensor:
    """Return KL(p||q) + KL(q||p) [rows] of the class probabilities of two tensors of logits [rows, classes].

    Source: Jiang et al. 2020 (SMART), section 3.1.
    """
    # The softmax of a single logit is always 1, so the divergence would always be 0, without any error.
    assert left.shape[-1] > 1
    log_p, log_q = _at_least_float32(left).log_softmax(-1), _at_least_float32(right).log_softmax(-1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)


def symmetric_bernoulli_kl(left: Tensor, right: Tensor) -> Tensor:
    """Return KL(p||q) + KL(q||p) [rows] of binary predictions with logits [rows, 1].

    This equals `symmetric_kl` of two classes with the logits 0 and z.
    """
    left, right = _at_least_float32(left), _at_least_float32(right)
    return ((left.sigmoid() - right.sigmoid()) * (left - right)).sum(-1)


def squared_difference(left: Tensor, right: Tensor) -> Tensor:
    """Return the squared difference [rows] of values [rows, 1], in squared label units."""
    return (_at_least_float32(left) - _at_least_float32(right)).square().sum(-1)


DIVERGENCES: dict[Kind, Divergence] = {
    "classification": symmetric_kl,
    "binary": symmetric_bernoulli_kl,
    "regression": squared_difference,
}


def _at_least_float32(outputs: Tensor) -> Tensor:
    """Convert half precision to float32: between similar outputs, rounding errors would exceed the divergence."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
