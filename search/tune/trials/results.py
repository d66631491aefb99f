"""Turn a result of Ray Tune into the row of a round. Without Ray: the driver reads its environment variables first."""

from collections.abc import Mapping
from typing import Any

from trainers.training.rounds import RoundRow

NESTED = ("metrics", "losses", "ratios", "constant")
"""The entries of a round's row that are dicts."""


def row_of(result: Mapping[str, Any]) -> RoundRow:
    """Return the row of a round from Tune's result.

    Searchers and trial schedulers get results as flat dicts with keys such as "metrics/sst", callbacks get nested ones.
    """
    nested = {name: dict[str, Any]() for name in NESTED}
    for key, value in result.items():
        name, _, inner = key.partition("/")
        if inner and name in nested:
            nested[name][inner] = value
    return RoundRow.from_entries({**nested, **result})
