"""Sizes of the tasks -> the plan of one epoch: which tasks' batches meet in each optimiser step."""

import math
from collections.abc import Callable

import torch

Plan = list[tuple[str, ...]]
"""[steps]: the tasks of each step, one batch of each; tasks that meet stand in the order of the config."""

BatchSchedule = Callable[[dict[str, int], dict[str, int], torch.Generator], Plan]
"""(training rows by task, rows a batch by task, generator of the epoch) -> plan of the epoch."""


def batch_counts(sizes: dict[str, int], batch_sizes: dict[str, int]) -> dict[str, int]:
    """Count the batches of a pass over each task's rows; the last batch of a pass may be a short one."""
    return {task: math.ceil(size / batch_sizes[task]) for task, size in sizes.items()}


def cycle(sizes: dict[str, int], batch_sizes: dict[str, int], generator: torch.Generator) -> Plan:
    """Let all tasks meet in every step of a pass over the one with most batches; the others start again.

    Source: report 000, cycle round-robin.
    """
    return [tuple(sizes)] * max(batch_counts(sizes, batch_sizes).values())


def shuffle(sizes: dict[str, int], batch_sizes: dict[str, int], generator: torch.Generator) -> Plan:
    """Take every batch of every task once, one a step, in random order.

    Source: report 000, shuffle round-robin.
    """
    batches = [task for task, count in sorted(batch_counts(sizes, batch_sizes).items()) for _ in range(count)]
    return [(batches[place],) for place in torch.randperm(len(batches), generator=generator).tolist()]


def smart(sizes: dict[str, int], batch_sizes: dict[str, int], generator: torch.Generator) -> Plan:
    """Take every batch of every task once, spread over as many steps as the task with most batches has.

    That task is in every step; the steps of each other one are a random subset, independent of the rest. (As printed
    in the report the rule overdraws the smaller tasks by a batch or more in every epoch.)

    Source: report 000, smart round-robin; the subset is that of Knuth, TAOCP 2, Algorithm 3.4.2S.
    """
    counts = batch_counts(sizes, batch_sizes)
    steps = max(counts.values())
    # Sorted: the order of the tasks in a config does not decide which steps a task is in.
    places = {task: set(_subset(steps, counts[task], generator)) for task in sorted(counts)}
    return [tuple(task for task in sizes if step in places[task]) for step in range(steps)]


def interleaved(sizes: dict[str, int], batch_sizes: dict[str, int], generator: torch.Generator) -> Plan:
    """Let all tasks meet in every step, for as many steps as the largest task has full batches, at least one.

    Batch sizes in proportion to `sizes` pass through all tasks at about the same speed; streams go on across epochs.

    Source: report 001, interleaved round-robin.
    """
    largest = max(sizes, key=sizes.__getitem__)
    return [tuple(sizes)] * max(1, sizes[largest] // batch_sizes[largest])


def simultaneous(sizes: dict[str, int], batch_sizes: dict[str, int], generator: torch.Generator) -> Plan:
    """Let all tasks meet in every step of a pass over the first one; the others' streams go on across epochs.

    Source: report 002, simultaneous training, whose first task is SST.
    """
    first = next(iter(sizes))
    return [tuple(sizes)] * batch_counts(sizes, batch_sizes)[first]


BATCH_SCHEDULES: dict[str, BatchSchedule] = {
    "cycle": cycle,
    "shuffle": shuffle,
    "smart": smart,
    "interleaved": interleaved,
    "simultaneous": simultaneous,
}


def _subset(count: int, size: int, generator: torch.Generator) -> list[int]:
    """Draw `size` of the numbers below `count`, all subsets equally likely."""
    return torch.randperm(count, generator=generator)[:size].tolist()
