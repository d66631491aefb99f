"""Choose the rounds whose weights are kept, and count the disk space of a trial."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

from trainers.config.train_config import TrainConfig
from trainers.training.rounds import RoundRow

STATES = 2
"""Full states that a running trial keeps. If the newest one is damaged, the trial resumes from the one before."""
MOST = 10
"""The number of rounds in each share by default."""
LIMIT = 8 * 2**30
"""Bytes that the kept weights of a run take by default at most; but each share has a round."""
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
        weights: int = 0,
        least: int = 0,
        *,
        stops_early: bool = False,
    ) -> Self:
        """Return the requested number of rounds, or the default: MOST in each share, fewer if LIMIT needs it.

        The full states of stopped trials take as much space as the weights of these rounds.

        Args:
            count: the requested number of rounds; None for the default.
            weights: bytes of the weights of a round.
            least: the smallest default, whatever its bytes.
            stops_early: whether trials may be stopped early.
        """
        shares = 1 + len(metrics)
        share = min(MOST, LIMIT // (shares * weights)) if weights else MOST
        count = count or max(least, shares * max(1, share))
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


def training_bytes(configs: Collection[TrainConfig], weights: int, keep: Keep) -> int:
    """Return the largest number of bytes of a trial's checkpoints while it is trained.

    It keeps the weights of its own best rounds and STATES full states, and writes one more.

    Args:
        configs: examples of the configs that are trained.
        weights: bytes of the weights of a round.
    """
    rounds = max((sum(stage.rounds for stage in config.stages) for config in configs), default=1)
    return weights * min(rounds, keep.count) + (STATES + 1) * state_bytes(configs, weights)


def state_bytes(configs: Collection[TrainConfig], weights: int) -> int:
    """Return the largest number of bytes of a full state, weights included.

    Averaging and the teacher of Bregman add one number per weight each.

    Args:
        configs: examples of the configs that are trained.
        weights: bytes of the weights of a round.
    """
    further = max(((config.averaging.kind != "none") + config.bregman.active for config in configs), default=0)
    return weights * (1 + MOMENTS + further)
