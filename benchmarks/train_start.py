"""Run `trainers.fit` up to its first step, print the monotonic clock and exit.

`benchmarks.train` runs `python -m benchmarks.train_start RECIPE ...` and knows the time of the start.
"""

import os
import time
from typing import Any

from trainers.fit.__main__ import app
from trainers.training.training import Training


def first_step(*given: Any, **settings: Any) -> None:
    """Print the time instead of running the first step, and exit."""
    print(time.monotonic(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    Training._update = first_step  # pyright: ignore[reportAttributeAccessIssue]
    app()
