"""Gradient surgery: combine the tasks' gradients by weights that are computed from their Gramian."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from trainers.methods.torchjd_weights import WEIGHTINGS, torchjd_weights, weighting

Surgery = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(gramian [tasks, tasks], memory [tasks, tasks], generator of the step) -> weights [tasks], memory.

The memory holds a number for each ordered pair of tasks from step to step: float64, zeros at the start."""

BLOCK = 2**18
"""Numbers per dot product. In float32, the squared norm of a word table's gradient has an error of 2e-4 if computed at
once, 1e-6 in blocks. Both take 24 ms for three tasks and 22.7 M parameters on one thread; float64 takes 200 ms."""
NEGLIGIBLE = 1e-12
"""Share of a gradient's squared norm. A turned gradient below it is a rounding error without a meaningful direction."""
TARGET_STEP = 1e-2
"""Share of the distance by which GradVac moves a target cosine to the observed cosine in a step (beta)."""
COSINE_LIMIT = 0.999
"""Largest absolute target cosine of GradVac, which divides by the sine of the target."""


def gramian(gradients: Sequence[Sequence[Tensor | None]]) -> Tensor:
    """Return the Gramian of the tasks' gradients: the inner product of each pair.

    Args:
        gradients: by task, then by parameter; None counts as zero, for a parameter that the task does not use.

    Returns:
        [tasks, tasks], float64, on the CPU. Parameters are multiplied one by one, without concatenating gradients.
    """
    pairs = list(combinations_with_replacement(range(len(gradients)), 2))
    products: dict[tuple[int, int], list[Tensor]] = {pair: [] for pair in pairs}
    for parameter in zip(*gradients, strict=True):
        blocks = [() if gradient is None else gradient.flatten().split(BLOCK) for gradient in parameter]
        for row, column in pairs:
            # `map` stops at the end of the shorter side, so () adds nothing.
            products[row, column] += map(torch.dot, blocks[row], blocks[column])
    result = torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    for (row, column), dots in products.items():
        if dots:
            result[row, column] = result[column, row] = torch.stack(dots).double().sum()
    return result


def weighted_sum(gradients: Sequence[Sequence[Tensor | None]], weights: Tensor) -> list[Tensor | None]:
    """Return the weighted sum of the tasks' gradients.

    Args:
        gradients: by task, then by parameter; None for a parameter that the task does not use.
        weights: [tasks].

    Returns:
        The sum by parameter; None for a parameter that no task uses.
    """
    return [_add(parameter, weights.tolist()) for parameter in zip(*gradients, strict=True)]


def plain_sum(gramian: Tensor, memory: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the weights [tasks] of the plain sum, all 1, and the memory unchanged."""
    return torch.ones(len(gramian), dtype=torch.float64), memory


def pcgrad(gramian: Tensor, memory: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the weights of PCGrad, which projects each gradient onto the normal plane of each conflicting gradient.

    A projected gradient is a linear combination of the original gradients. So the algorithm needs only their inner
    products, `gramian @ weights` [tasks], and never computes with vectors of [parameters].

    Args:
        gramian: [tasks, tasks], inner products of the gradients of the shared parameters.
        memory: returned unchanged.
        generator: draws the order of the projections.

    Returns:
        The weights [tasks], all 1 if no two gradients conflict; the memory.

    Source: Yu et al. 2020 (PCGrad), algorithm 1, in terms of the Gramian.
    """
    products = gramian.double()  # float64: where projections cancel, float32 would return the sign of a rounding error
    total = torch.zeros(len(products), dtype=torch.float64)
    for task, weights in enumerate(torch.eye(len(products), dtype=torch.float64)):
        for other in torch.randperm(len(products), generator=generator).tolist():
            product, square = products[other] @ weights, products[other, other]
            # A gradient whose squared norm rounds to 0 may still have products that are not 0; skip it.
            if other != task and product < 0 < square:
                weights[other] -= product / square
        total += weights
    return total, memory


def gradvac(gramian: Tensor, memory: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the weights of GradVac, which turns each gradient towards each other gradient up to a target cosine.

    The target of a pair of tasks is a moving average of the cosines observed for the pair.

    Report 004 prints the coefficient |g| / |other| (target - cosine^2 - cosine sqrt(1 - target^2)), for every pair and
    with fixed targets. This formula misses the target and turns agreement into conflict: two gradients 30 degrees apart
    get a cosine of -0.83. The recipes of report 004 use the published formula, too.

    Args:
        gramian: [tasks, tasks], inner products of the gradients of the shared parameters.
        memory: [tasks, tasks], target cosines of the row's gradient, while it is turned, with the column's gradient.
        generator: draws the order of the pairs.

    Returns:
        The weights [tasks], equal to PCGrad's if all targets are 0; the targets, moved towards the observed cosines. A
        gradient of zeros and its targets stay unchanged.

    Source: Wang et al. 2021 (Gradient Vaccine), in terms of the Gramian.
    """
    products, targets = gramian.double(), memory.clone()
    total = torch.zeros(len(products), dtype=torch.float64)
    for task, weights in enumerate(torch.eye(len(products), dtype=torch.float64)):
        for other in torch.randperm(len(products), generator=generator).tolist():
            square, other_square = weights @ products @ weights, products[other, other]
            if other == task or not (square > NEGLIGIBLE * products[task, task] and other_square > 0):
                continue
            length, other_length = square.sqrt(), other_square.sqrt()
            cosine = (products[other] @ weights / (length * other_length)).clamp(-1, 1)
            target = targets[task, other]
            if cosine < target:
                weights[other] += length / other_length * (target * _sine(cosine) / _sine(target) - cosine)
            targets[task, other] = (target + TARGET_STEP * (cosine - target)).clamp(-COSINE_LIMIT, COSINE_LIMIT)
        total += weights
    return total, targets


SURGERIES: dict[str, Surgery] = {
    "sum": plain_sum,
    "pcgrad": pcgrad,
    "gradvac": gradvac,
    **{name: partial(torchjd_weights, name) for name in WEIGHTINGS},
}


def check_surgery(name: str) -> None:
    """Check that the packages that a surgery needs are installed.

    Raises:
        InputError: a package is missing.
    """
    if name in WEIGHTINGS:
        weighting(name)


def _sine(cosine: Tensor) -> Tensor:
    return (1 - cosine.square()).sqrt()


def _add(gradients: Sequence[Tensor | None], weights: Sequence[float]) -> Tensor | None:
    """Return the weighted sum of the tasks' gradients of one parameter."""
    total = None
    for gradient, weight in zip(gradients, weights, strict=True):
        if gradient is not None:
            total = gradient * weight if total is None else total.add_(gradient, alpha=weight)
    return total
