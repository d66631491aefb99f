"""torchjd's catalogue of weightings that are functions of the Gramian, by our names. torchjd is optional."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

import torch
from torch import Tensor

from model.errors import InputError


@dataclass(frozen=True)
class Weighting:
    """One class of torchjd, how it is made, and the packages that it solves its problem with."""

    name: str
    packages: tuple[str, ...] = ()
    options: dict[str, float] = field(default_factory=dict)
    averages: bool = True
    """Whether agreeing gradients get weights that sum to 1, where ours are 1 each."""


# Left out: what draws random numbers, keeps a state of its own, or needs more than the Gramian of one batch (Nash-MTL,
# PCD, SDMGrad, MoDo, ExcessMTL, CR-MOGM); Krum, which takes the gradients for faulty; the mean, which is the sum here.
WEIGHTINGS: dict[str, Weighting] = {
    "upgrad": Weighting("UPGradWeighting", ("qpsolvers", "quadprog")),
    "dualproj": Weighting("DualProjWeighting", ("qpsolvers", "quadprog")),
    "mgda": Weighting("MGDAWeighting"),
    # c: the authors' on NYU-v2.
    "cagrad": Weighting("CAGradWeighting", ("cvxpy", "clarabel"), {"c": 0.4}),
    "aligned_mtl": Weighting("AlignedMTLWeighting"),
    "imtl_g": Weighting("IMTLGWeighting"),
    # alpha 1 is proportional fairness, the solution that Nash-MTL seeks.
    "fairgrad": Weighting("FairGradWeighting", ("scipy",), {"alpha": 1.0}, averages=False),
}


def weighting(name: str) -> Callable[[Tensor], Tensor]:
    """Return torchjd's map from a Gramian [tasks, tasks] to weights [tasks].

    Raises:
        InputError: torchjd, or a solver that it needs for this one, is not installed.
    """
    chosen = WEIGHTINGS[name]
    try:
        # Not above: torchjd is optional, and takes a second to import its solvers. They come first: torchjd itself
        # leaves out in silence what it cannot import, and fails in the first step.
        modules = [import_module(package) for package in (*chosen.packages, "torchjd.aggregation")]
    except ImportError as error:
        raise InputError(
            f"Surgery {name!r} needs torchjd and its solvers: {error}. Install them: pip install '.[torchjd]'."
        ) from error
    return getattr(modules[-1], chosen.name)(**chosen.options)


def torchjd_weights(name: str, gramian: Tensor, memory: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return torchjd's weights [tasks] for a Gramian [tasks, tasks]; times the tasks where it averages: we add up."""
    scale = float(gramian.diagonal().mean())
    if not 0 < scale < float("inf"):  # nothing to weigh; what is not finite stays so in the weighted sum
        return torch.ones(len(gramian), dtype=torch.float64), memory
    # Its solvers compare with fixed numbers: at the end of training UPGrad would turn into the mean, and CAGrad stop.
    factor = len(gramian) if WEIGHTINGS[name].averages else 1
    return weighting(name)(gramian.double() / scale) * factor, memory
