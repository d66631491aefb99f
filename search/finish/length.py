"""Decide how many passes over the rows each config trains, and estimate how long all trainings take."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from model.errors import InputError
from search.session.trial_length import measured_pass_seconds, planned_passes, seconds_with_evaluation
from search.suggest.space import with_passes
from search.tune.slots import Slots
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.training.step_plan import plan

FEWEST_PASSES = 0.25
"""The fewest passes that a time budget may choose, for a config that has more."""
Configs = Mapping[int, TrainConfig]
"""Number of a trial -> its config, with a duration in passes."""


def in_passes(config: TrainConfig, corpus: Corpus) -> TrainConfig:
    """Return a config whose stages last as many passes as they do on a corpus, so that more rows train longer.

    Raises:
        InputError: the corpus lacks something that the config needs.
    """
    if all(stage.passes for stage in config.stages):
        return config
    steps, _ = plan(config, corpus)
    stages = []
    for index, stage in enumerate(config.stages):
        examples = sum(sum(step.rows.values()) for step in steps if step.stage == index)
        passes = stage.passes or examples / sum(corpus.train_sizes(stage.sources).values())
        stages.append(stage.lasting(passes=passes))
    return config.replace(stages=tuple(stages))


def check_budget(configs: Configs, seconds: float | None, address: str | None) -> None:
    """Check that passes can be chosen for a time budget.

    Args:
        seconds: the time budget; None without one.
        address: the address of a Ray cluster; None for this machine.

    Raises:
        InputError: the trainings run on a cluster, or a config has several stages.
    """
    if seconds is None:
        return
    if address:
        raise InputError(
            f"--time-budget: the speed of training can be measured on this machine only, and --address {address} "
            "names a cluster. Leave --time-budget out; --rows shortens the trainings."
        )
    for number, config in configs.items():
        if len(config.stages) > 1:
            raise InputError(
                f"--time-budget: the config of trial {number} has {len(config.stages)} stages, and passes can be "
                "chosen for one stage only. Leave --time-budget out; --rows shortens the trainings."
            )


@dataclass(frozen=True)
class Length:
    """All that decides how long the trainings of a run take."""

    configs: Configs
    """The configs with the passes that they had in the searched run."""
    trainings: int
    """The number of all trainings."""
    slots: Slots
    pass_seconds: Mapping[int, float] | None
    """Number of a trial -> seconds of one pass of its config in one slot, without evaluation; None if not known."""
    seconds: float | None
    """The time budget; None without one."""

    @cached_property
    def chosen(self) -> Configs:
        """The configs with as many passes as the time budget allows, but none with more than it had."""
        if self.pass_seconds is None or self.seconds is None:
            return self.configs
        most = max(map(_passes, self.configs.values()))
        passes = planned_passes((FEWEST_PASSES, most), self._in_all(self.pass_seconds), self.seconds)
        return {number: with_passes(config, min(passes, _passes(config))) for number, config in self.configs.items()}

    def line(self, corpus: Corpus, *, recorded: bool = False) -> str:
        """Return the line that tells the user how many trainings on a corpus there are, and how long they take.

        Args:
            recorded: whether an earlier command has decided the passes.
        """
        stages = [stage for config in self.chosen.values() for stage in config.stages]
        passes = sorted(stage.passes or 0.0 for stage in stages)
        shown = " to ".join(f"{number:.3g}" for number in dict.fromkeys([passes[0], passes[-1]]))
        each = " in each stage" if len(stages) > len(self.configs) else ""
        rows = sum(corpus.train_sizes(dict.fromkeys(name for stage in stages for name in stage.sources)).values())
        decided = "as in the search" if self.chosen == self.configs else "as --time-budget decides"
        if recorded:
            decided = "as the run's first command decided"
        line = (
            f"{self.trainings} training{'s' * (self.trainings > 1)} of {shown} {'pass' if shown == '1' else 'passes'}"
            f"{each} over {rows:,} rows, {decided}"
        )
        if self.pass_seconds is None:
            return f"{line}."
        pace = self.pass_seconds
        whole = self._in_all(
            {number: seconds_with_evaluation(_passes(one), pace[number]) for number, one in self.chosen.items()}
        )
        line += f": about {timedelta(seconds=round(whole))} of training and evaluation."
        if self.seconds and whole > self.seconds and passes[-1] <= FEWEST_PASSES:
            line += " That is more than --time-budget: raise it, or lower --rows, --top or --seeds."
        return line

    def _in_all(self, seconds: Mapping[int, float]) -> float:
        """Return the seconds of all trainings from those of each config: a free slot takes the next training."""
        ends = [0.0] * self.slots.count
        for each in [*seconds.values()] * (self.trainings // len(seconds)):
            heapq.heapreplace(ends, ends[0] + each)
        return max(ends)


def measured_length(
    configs: Configs, trainings: int, corpus: Corpus, slots: Slots, *, seconds: float | None, address: str | None
) -> Length:
    """Return what decides the length of the trainings, after measuring the pace of each config.

    The pace is not measured on a cluster, whose machines may be faster, nor if a config has several stages.

    Args:
        trainings: the number of all trainings.
        seconds: the time budget; None without one.
        address: the address of a Ray cluster; None for this machine.

    Raises:
        InputError: a config cannot be trained.
        MachineError: the machine has failed.
    """
    measurable = not address and all(len(config.stages) == 1 for config in configs.values())
    if not measurable:
        return Length(configs, trainings, slots, None, seconds)
    pace = {number: _measured(number, config, corpus, slots) for number, config in configs.items()}
    return Length(configs, trainings, slots, pace, seconds)


def _measured(number: int, config: TrainConfig, corpus: Corpus, slots: Slots) -> float:
    try:
        return measured_pass_seconds(config, corpus, slots)
    except InputError as error:
        raise InputError(f"The config of trial {number}: {error} Lower --top, or pass another run.") from error


def _passes(config: TrainConfig) -> float:
    """Return the passes of a config of one stage."""
    (stage,) = config.stages
    return stage.passes or 0.0
