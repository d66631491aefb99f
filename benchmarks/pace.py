"""Loops that train, a step of each in turn -> how fast they are, side by side."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Loop = Callable[[], int]
"""Take a step; return the useful tokens that it trained on: padding is none."""

WARM = 2
"""First steps of each loop that are not counted: allocators and threads settle."""


@dataclass(frozen=True)
class Pace:
    """What the steps of a loop took."""

    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Useful tokens a second, over all steps."""
        return sum(self.tokens) / sum(self.seconds)

    @property
    def step(self) -> float:
        """Seconds of a step, the median."""
        return statistics.median(self.seconds)

    def times(self, other: "Pace") -> float:
        """Return how many times as long as the other's this loop's steps take: the median over steps side by side."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True))

    def faster(self, other: "Pace") -> float:
        """Return how many times as many tokens a second as the other this loop has, over all steps."""
        return self.rate / other.rate


def alternate(loops: Mapping[str, Loop], steps: int, settle: Callable[[], object] = lambda: None) -> dict[str, Pace]:
    """Take a step of each loop in turn, in the other order every other time; return what each took.

    Args:
        settle: waits until all that was asked of the device is done.
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
