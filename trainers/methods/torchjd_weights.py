"""Surgeries from torchjd, an optional package, that compute weights from the Gramian alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

import torch
from torch import Tensor

from model.errors import InputError


@dataclass(frozen=True)
class Weighting:
    """A weighting class of torchjd."""

    name: str
    packages: tuple[str, ...] = ()
    """Solvers that the class imports."""
    options: dict[str, float] = field(default_factory=dict)
    """Arguments of its constructor."""
    averages: bool = True
    """Whether the weights of equal gradients sum to 1. Ours are 1 each, so they sum to the number of tasks."""


# Not included: weightings that draw random numbers, keep their own state or need more than the Gramian of one batch
# (Nash-MTL, PCD, SDMGrad, MoDo, ExcessMTL, CR-MOGM); Krum, which assumes that some gradients are faulty; the mean,
# which has the same direction as the sum.
WEIGHTINGS: dict[str, Weighting] = {
    "upgrad": Weighting("UPGradWeighting", ("qpsolvers", "quadprog")),
    "dualproj": Weighting("DualProjWeighting", ("qpsolvers", "quadprog")),
    "mgda": Weighting("MGDAWeighting"),
    # c: the value that the authors use on NYU-v2.
    "cagrad": Weighting("CAGradWeighting", ("cvxpy", "clarabel"), {"c": 0.4}),
    "aligned_mtl": Weighting("AlignedMTLWeighting"),
    "imtl_g": Weighting("IMTLGWeighting"),
    # alpha 1 means proportional fairness, the solution that Nash-MTL computes.
    "fairgrad": Weighting("FairGradWeighting", ("scipy",), {"alpha": 1.0}, averages=False),
}


def weighting(name: str) -> Callable[[Tensor], Tensor]:
    """Return torchjd's function from a Gramian [tasks, tasks] to weights [tasks].

    Raises:
        InputError: torchjd, or a solver that this weighting needs, is not installed.
    """
    chosen = WEIGHTINGS[name]
    try:
        # Imported here, because torchjd is optional and takes a second to import its solvers. The solvers are imported
        # first: torchjd ignores a missing solver without a message and fails in the first step.
        modules = [import_module(package) for package in (*chosen.packages, "torchjd.aggregation")]
    except ImportError as error:
        raise InputError(
            f"Surgery {name!r} needs torchjd and its solvers: {error}. Install them: pip install '.[torchjd]'."
        ) from error
    return getattr(modules[-1], chosen.name)(**chosen.options)


def torchjd_weights(name: str, gramian: Tensor, memory: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return torchjd's weights [tasks] for a Gramian [tasks, tasks], scaled so that equal gradients are added up."""
    scale = float(gramian.diagonal().mean())
    if not 0 < scale < float("inf"):  # all are 0, or the sum will not be finite either
        return torch.ones(len(gramian), dtype=torch.float64), memory
    # torchjd's solvers have absolute tolerances. Without scaling, the small gradients at the end of training would turn
    # UPGrad into the mean and stop CAGrad.
    factor = len(gramian) if WEIGHTINGS[name].averages else 1
    return weighting(name)(gramian.double() / scale) * factor, memory
