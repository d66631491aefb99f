"""Compare the speed of several loops by running one step of each in turn."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Loop = Callable[[], int]
"""Run one step; return the number of its tokens, without padding."""

WARM = 2
"""Number of first steps per loop that are not measured, while allocators and threads warm up."""


@dataclass(frozen=True)
class Pace:
    """Tokens and seconds of a loop's steps."""

    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Tokens per second over all steps."""
        return sum(self.tokens) / sum(self.seconds)

    @property
    def step(self) -> float:
        """Median seconds per step."""
        return statistics.median(self.seconds)

    def times(self, other: "Pace") -> float:
        """Return the median ratio of this loop's step times to those of the other loop, step by step."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True))

    def faster(self, other: "Pace") -> float:
        """Return the ratio of this loop's tokens per second to those of the other loop, over all steps."""
        return self.rate / other.rate


def alternate(loops: Mapping[str, Loop], steps: int, settle: Callable[[], object] = lambda: None) -> dict[str, Pace]:
    """Run one step of each loop in turn, reversing the order every time; return the pace of each loop.

    Args:
        loops: the loops by name.
        steps: number of measured steps per loop.
        settle: waits until the device has finished all operations.
    """
    found = {name: Pace() for name in loops}
    for number in range(WARM + steps):
        for name in list(loops)[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            tokens = loops[name]()
            settle()
            seconds = time.perf_counter() - started
            if number >= WARM:
                found[name].tokens.append(tokens)
                found[name].seconds.append(seconds)
    return found
