"""Gradients of the tasks -> their Gramian -> one weight per task -> one gradient."""

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement

import torch
from torch import Tensor

Surgery = Callable[[Tensor, torch.Generator], Tensor]
"""(gramian [tasks, tasks], generator of the step) -> weights [tasks]."""

BLOCK = 2**18
"""Numbers multiplied at a time. The float32 square of a word table's gradient is 2e-4 off in one go, 1e-6 in blocks;
both take 24 ms for three tasks and 22.7 M parameters, float64 takes 200 (one thread)."""


def gramian(gradients: Sequence[Sequence[Tensor | None]]) -> Tensor:
    """Multiply the tasks' gradients with each other.

    Args:
        gradients: by task, then by parameter; None where a task does not use a parameter, which counts as zero.

    Returns:
        [tasks, tasks], float64, on the CPU. Tensors are multiplied one by one: no task's gradient becomes one vector.
    """
    pairs = list(combinations_with_replacement(range(len(gradients)), 2))
    products: dict[tuple[int, int], list[Tensor]] = {pair: [] for pair in pairs}
    for parameter in zip(*gradients, strict=True):
        blocks = [() if gradient is None else gradient.flatten().split(BLOCK) for gradient in parameter]
        for row, column in pairs:
            products[row, column] += map(torch.dot, blocks[row], blocks[column])  # the shorter one ends it: () is zero
    result = torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    for (row, column), dots in products.items():
        if dots:
            result[row, column] = result[column, row] = torch.stack(dots).double().sum()
    return result


def weighted_sum(gradients: Sequence[Sequence[Tensor | None]], weights: Tensor) -> list[Tensor | None]:
    """Add the tasks' gradients up.

    Args:
        gradients: by task, then by parameter; None where a task does not use a parameter.
        weights: [tasks].

    Returns:
        By parameter; None where no task uses it.
    """
    return [_add(parameter, weights.tolist()) for parameter in zip(*gradients, strict=True)]


def plain_sum(gramian: Tensor, generator: torch.Generator) -> Tensor:
    """Return the weights [tasks] of the sum: ones."""
    return torch.ones(len(gramian), dtype=torch.float64)


def pcgrad(gramian: Tensor, generator: torch.Generator) -> Tensor:
    """Return weights with which each gradient has lost what conflicts with the others.

    A projected gradient stays a combination of the original ones, so the inner products that the algorithm needs are
    `gramian @ weights`: [tasks] numbers where the textbook moves [parameters].

    Args:
        gramian: [tasks, tasks], inner products of the gradients of the shared parameters.
        generator: orders the projections.

    Returns:
        [tasks]; ones where no two gradients conflict.

    Source: Yu et al. 2020 (PCGrad), algorithm 1, in terms of the Gramian.
    """
    products = gramian.double()  # float64: where projections cancel, float32 would leave the rounding's sign
    total = torch.zeros(len(products), dtype=torch.float64)
    for task, weights in enumerate(torch.eye(len(products), dtype=torch.float64)):
        for other in torch.randperm(len(products), generator=generator).tolist():
            product, square = products[other] @ weights, products[other, other]
            # A gradient of length 0 in rounded numbers may still have products: it has no direction to lose.
            if other != task and product < 0 < square:
                weights[other] -= product / square
        total += weights
    return total


SURGERIES: dict[str, Surgery] = {"sum": plain_sum, "pcgrad": pcgrad}


def _add(gradients: Sequence[Tensor | None], weights: Sequence[float]) -> Tensor | None:
    """Add up one parameter's gradients, by task."""
    total = None
    for gradient, weight in zip(gradients, weights, strict=True):
        if gradient is not None:
            total = gradient * weight if total is None else total.add_(gradient, alpha=weight)
    return total
