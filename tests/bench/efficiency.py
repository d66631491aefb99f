"""Which search finds a good config with least compute: ours and others', on recorded trainings with a virtual clock.

`python -m tests.bench.efficiency` prints the table and writes the curves of regret. The others run their own code.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from tests.bench.surface import GRID

CLOSE = 0.005
LIMIT = 200.0
"""Full trainings after which a search is given up."""
WORKERS = 4

Point = tuple[Any, ...]


@dataclass(frozen=True)
class Curve:
    """A recorded training: what each round scored and how long it took, in seconds."""

    scores: list[float]
    seconds: list[float]


Surface = dict[Point, Curve]


class Search(Protocol):
    """A search that is asked for points and told of rounds."""

    def suggest(self, number: int) -> Point:
        """Return the point of the next trial."""
        ...

    def told(self, number: int, round: int, score: float) -> bool:
        """Hear of a round; return whether the trial goes on."""
        ...


def suggest(trial: Any) -> Point:
    """Choose a point of the grid; the learning rate by its place in the order."""
    place = trial.suggest_int("learning_rate", 0, len(GRID["learning_rate"]) - 1)
    others = (trial.suggest_categorical(name, values) for name, values in GRID.items() if name != "learning_rate")
    return GRID["learning_rate"][place], *others
