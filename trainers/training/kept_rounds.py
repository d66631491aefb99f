"""Choose the rounds whose weights are kept, and count the disk space of a trial."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

from trainers.config.train_config import TrainConfig
from trainers.training.rounds import RoundRow

STATES = 2
"""Full states that a running trial keeps. If the newest one is damaged, the trial resumes from the one before."""
ROUNDS_PER_SHARE = 10
"""The number of rounds in each share by default."""
LIMIT_BYTES = 8 * 2**30
"""Largest default size in bytes of a run's kept weights. Each share keeps at least one round, even if that takes
more."""
MOMENTS = 2
"""Numbers per weight in a full state besides the weight: AdamW's two moments."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Keep:
    """The checkpoints that are kept: weights of the best rounds, and full states of the best stopped trials."""

    count: int
    """Rounds whose weights are kept: in equal shares, the best by the score and by each metric."""
    metrics: tuple[str, ...]
    """Names in the metrics of rows. If the shares are not equal, the score and the first metrics get one more."""
    states: int = 0
    """Trials stopped early that keep the full state of their newest round."""

    @classmethod
    def of(
        cls,
        metrics: Collection[str],
        count: int | None = None,
        weight_bytes: int = 0,
        minimum: int = 0,
        *,
        stops_early: bool = False,
    ) -> Self:
        """Return the requested number of rounds, or the default: ROUNDS_PER_SHARE, fewer if LIMIT_BYTES requires it.

        The full states of stopped trials take as much space as the weights of these rounds.

        Args:
            count: the requested number of rounds; None for the default.
            weight_bytes: bytes of the weights of a round.
            minimum: the smallest default, whatever its bytes.
            stops_early: whether trials may be stopped early.
        """
        shares = 1 + len(metrics)
        share = min(ROUNDS_PER_SHARE, LIMIT_BYTES // (shares * weight_bytes)) if weight_bytes else ROUNDS_PER_SHARE
        count = count or max(minimum, shares * max(1, share))
        return cls(count, tuple(metrics), count // (1 + MOMENTS) if stops_early else 0)

    def best(self, rows: Mapping[Key, RoundRow]) -> set[Key]:
        """Return the keys of the rounds whose weights are kept, at most `count`.

        The best rounds of a run are among the best rounds of its trials, and a round that is not among the best will
        never be: so a trial deletes weights without reading other trials.

        Args:
            rows: key -> row of a round; of two equal values, the earlier row counts as better.
        """
        finite = {key: row for key, row in rows.items() if row.finite}
        values = [{key: row.score for key, row in finite.items()}]
        values += [{key: row.metrics.get(name) for key, row in finite.items()} for name in self.metrics]
        share, rest = divmod(self.count, len(values))
        best: set[Key] = set()
        for place, found in enumerate(values):
            known = {key: value for key, value in found.items() if value is not None}
            best.update(sorted(known, key=known.__getitem__, reverse=True)[: share + (place < rest)])
        return best


def most_rounds(configs: Collection[TrainConfig]) -> int:
    """Return the largest number of rounds of a config; 1 if there are no configs."""
    return max((sum(stage.rounds for stage in config.stages) for config in configs), default=1)


def training_bytes(configs: Collection[TrainConfig], weight_bytes: int, keep: Keep) -> int:
    """Return the largest number of bytes of a trial's checkpoints while it is trained.

    It keeps the weights of its own best rounds and STATES full states, and writes one more.

    Args:
        configs: examples of the configs that are trained.
        weight_bytes: bytes of the weights of a round.
    """
    kept = min(most_rounds(configs), keep.count)
    return weight_bytes * kept + (STATES + 1) * state_bytes(configs, weight_bytes)


def state_bytes(configs: Collection[TrainConfig], weight_bytes: int) -> int:
    """Return the largest number of bytes of a full state, weights included.

    Averaging and the teacher of Bregman add one number per weight each.

    Args:
        configs: examples of the configs that are trained.
        weight_bytes: bytes of the weights of a round.
    """
    further = max(((config.averaging.kind != "none") + config.bregman.active for config in configs), default=0)
    return weight_bytes * (1 + MOMENTS + further)
