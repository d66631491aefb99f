"""`trainers.fit` up to its first step: prints when that would begin, by the machine's monotonic clock, and ends.

`python -m benchmarks.train_start RECIPE ...` is called by `benchmarks.train`, which knows when it did so.
"""

import os
import time
from typing import Any

from trainers import fit
from trainers.training.training import Training


def first_step(*given: Any) -> None:
    """Stand for the first step."""
    print(time.monotonic(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    Training._update = first_step  # pyright: ignore[reportAttributeAccessIssue]
    fit.app()
