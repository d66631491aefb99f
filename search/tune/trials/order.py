"""Decide which trial is trained next."""

from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.runs.trial_record import Trial
from search.suggest.space import Space, suggest_config
from trainers.config.train_config import TrainConfig


@dataclass(frozen=True)
class Next:
    """The trial to train next."""

    trial: FrozenTrial | None = None
    """A trial to resume; None for a new trial."""
    replaced: FrozenTrial | None = None
    """The trial that `trial`, a clone, replaces."""


class TrialOrder(Protocol):
    """The order in which the searcher hands trials to Tune, and the trials that are needed after Tune stopped them."""

    space: Space
    stopped: TrialState
    """State of a trial that Tune has stopped after a round; RUNNING if the trial will be resumed."""

    def add(self, frozen: FrozenTrial) -> None:
        """Add a trial that waits to be resumed."""
        ...

    def finished(self, *, may_begin: bool, training: bool) -> bool:
        """Return whether no trial will be handed out any more.

        Args:
            may_begin: whether the number of trials allows a new one.
            training: whether trials are being trained now.
        """
        ...

    def next(self, *, may_begin: bool, held: bool = False) -> Next | None:
        """Choose the next trial and remove it from the waiting ones; None if there is none at present.

        Args:
            may_begin: whether the number of trials allows a new one.
            held: whether waiting trials only are handed out now, because the machine may need a pause.
        """
        ...

    def clone_in_place_of(self, number: int) -> FrozenTrial | None:
        """Return the clone that an earlier session began in the place of a trial, if it did."""
        ...

    def config(self, trial: optuna.Trial) -> TrainConfig:
        """Return the config of a trial that has no files yet.

        Raises:
            InputError: the space gives no config.
        """
        ...

    def may_be_donor(self, trial: Trial) -> bool:
        """Return whether an ended trial may still be cloned, so that its full states are needed."""
        ...


class TrialQueue:
    """Independent trials: resumed ones first, then new ones; each trains until it finishes or is stopped."""

    stopped = TrialState.PRUNED

    def __init__(self, space: Space):
        """Start with an empty queue.

        Args:
            space: suggests each trial's config.
        """
        self.space = space
        self.waiting: list[FrozenTrial] = []

    def add(self, frozen: FrozenTrial) -> None:
        """Add a trial that waits to be resumed."""
        self.waiting.append(frozen)

    def finished(self, *, may_begin: bool, training: bool) -> bool:
        """Return whether no trial waits or is trained, and no new one may begin. A trained one may be resumed later."""
        return not self.waiting and not may_begin and not training

    def next(self, *, may_begin: bool, held: bool = False) -> Next | None:
        """Choose the trial that has waited longest, else a new one."""
        if self.waiting:
            return Next(self.waiting.pop(0))
        return Next() if may_begin and not held else None

    def clone_in_place_of(self, number: int) -> FrozenTrial | None:
        """Return None: no trial is replaced before its end."""
        return None

    def config(self, trial: optuna.Trial) -> TrainConfig:
        """Return the config that the space suggests."""
        return suggest_config(self.space, trial)

    def may_be_donor(self, trial: Trial) -> bool:
        """Return False: a stopped trial that may continue keeps its state by another rule, `KeptCheckpoints`."""
        return False
