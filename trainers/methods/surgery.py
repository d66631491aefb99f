"""Gradients of the tasks -> their Gramian -> one weight per task -> one gradient."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from trainers.methods.torchjd_weights import WEIGHTINGS, torchjd_weights, weighting

Surgery = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(gramian [tasks, tasks], memory [tasks, tasks], generator of the step) -> weights [tasks], memory.

The memory is what a surgery keeps of earlier steps for each ordered pair of tasks: zeros at the start, float64."""

BLOCK = 2**18
"""Numbers multiplied at a time. The float32 square of a word table's gradient is 2e-4 off in one go, 1e-6 in blocks;
both take 24 ms for three tasks and 22.7 M parameters, float64 takes 200 (one thread)."""
LOST = 1e-12
"""Of a gradient's square: with no more left of it than that, what is left is rounding, and has no direction."""
MOVE = 1e-2
"""How far a target cosine of GradVac moves to the one observed, a step (beta)."""
COSINE_LIMIT = 0.999
"""GradVac divides by the sine of a target."""


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


def plain_sum(gramian: Tensor, memory: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the weights [tasks] of the sum: ones."""
    return torch.ones(len(gramian), dtype=torch.float64), memory


def pcgrad(gramian: Tensor, memory: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return weights with which each gradient has lost what conflicts with the others.

    A projected gradient stays a combination of the original ones, so the inner products that the algorithm needs are
    `gramian @ weights`: [tasks] numbers where the textbook moves [parameters].

    Args:
        gramian: [tasks, tasks], inner products of the gradients of the shared parameters.
        memory: returned as it is.
        generator: orders the projections.

    Returns:
        [tasks], ones where no two gradients conflict; the memory.

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
    return total, memory


def gradvac(gramian: Tensor, memory: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return weights with which each gradient is turned to every other one, up to the cosine that is usual for the two.

    Report 004 prints |g| / |other| (target - cosine^2 - cosine sqrt(1 - target^2)), for every pair and without a moving
    target. That misses the target, and turns agreement into conflict: of gradients 30 degrees apart it makes a cosine
    of -0.83. Its systems get the published form too.

    Args:
        gramian: [tasks, tasks], inner products of the gradients of the shared parameters.
        memory: [tasks, tasks], the target cosine of the row's gradient, as it is turned, with the column's.
        generator: orders the pairs.

    Returns:
        [tasks], PCGrad's where all targets are 0; the targets, moved to the cosines that were met. A gradient of zeros
        is left alone, and so are its targets.

    Source: Wang et al. 2021 (Gradient Vaccine), in terms of the Gramian.
    """
    products, targets = gramian.double(), memory.clone()
    total = torch.zeros(len(products), dtype=torch.float64)
    for task, weights in enumerate(torch.eye(len(products), dtype=torch.float64)):
        for other in torch.randperm(len(products), generator=generator).tolist():
            square, other_square = weights @ products @ weights, products[other, other]
            if other == task or not (square > LOST * products[task, task] and other_square > 0):
                continue
            length, other_length = square.sqrt(), other_square.sqrt()
            cosine = (products[other] @ weights / (length * other_length)).clamp(-1, 1)
            target = targets[task, other]
            if cosine < target:
                weights[other] += length / other_length * (target * _sine(cosine) / _sine(target) - cosine)
            targets[task, other] = (target + MOVE * (cosine - target)).clamp(-COSINE_LIMIT, COSINE_LIMIT)
        total += weights
    return total, targets


SURGERIES: dict[str, Surgery] = {
    "sum": plain_sum,
    "pcgrad": pcgrad,
    "gradvac": gradvac,
    **{name: partial(torchjd_weights, name) for name in WEIGHTINGS},
}


def check_surgery(name: str) -> None:
    """Check that what a surgery needs is installed.

    Raises:
        InputError: it is not.
    """
    if name in WEIGHTINGS:
        weighting(name)


def _sine(cosine: Tensor) -> Tensor:
    return (1 - cosine.square()).sqrt()


def _add(gradients: Sequence[Tensor | None], weights: Sequence[float]) -> Tensor | None:
    """Add up one parameter's gradients, by task."""
    total = None
    for gradient, weight in zip(gradients, weights, strict=True):
        if gradient is not None:
            total = gradient * weight if total is None else total.add_(gradient, alpha=weight)
    return total
