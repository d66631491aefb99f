"""Batch schedules: plan which tasks have a batch in each optimiser step of an epoch."""

import math
from collections.abc import Callable

import torch

Plan = list[tuple[str, ...]]
"""[steps]: the tasks that have a batch in each step, in the order of the config."""

BatchSchedule = Callable[[dict[str, int], dict[str, int], float, torch.Generator], Plan]
"""(training rows by task, batch size by task, progress of the stage from 0 to 1, generator of the epoch) -> plan.

For equal generators, plans have equal lengths, and only schedules in `PROGRESSIVE` depend on the progress.
"""

TEMPERATURE = 2.0
"""Sampling proportional to the square root of the rows, the second rule that Stickland and Murray 2019 compare."""


def batch_counts(sizes: dict[str, int], batch_sizes: dict[str, int]) -> dict[str, int]:
    """Count the batches that cover each task's rows once; the last batch may be smaller."""
    return {task: math.ceil(size / batch_sizes[task]) for task, size in sizes.items()}


def proportional_sizes(sizes: dict[str, int], largest: int) -> dict[str, int]:
    """Return batch sizes proportional to the tasks' rows: `largest` for the largest task, at least 1 for each task.

    Source: report 001, interleaved round-robin.
    """
    most = max(sizes.values())
    return {task: max(1, largest * size // most) for task, size in sizes.items()}


def shares(sizes: dict[str, int], exponent: float) -> dict[str, float]:
    """Return each task's sampling probability, proportional to rows ** exponent; tasks are sorted by name."""
    powers = {task: sizes[task] ** exponent for task in sorted(sizes)}
    return {task: power / sum(powers.values()) for task, power in powers.items()}


def equal(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Give every step a batch of each task, for as many steps as the task with the fewest batches has.

    The streams of the other tasks continue from epoch to epoch.

    Source: reports 001 and 004, round-robin.
    """
    return [tuple(sizes)] * min(batch_counts(sizes, batch_sizes).values())


def cycle(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Give every step a batch of each task, for as many steps as the task with the most batches has.

    The other tasks start again from their first batch when they have no more.

    Source: report 000, cycle round-robin.
    """
    return [tuple(sizes)] * max(batch_counts(sizes, batch_sizes).values())


def shuffle(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Take every batch of every task once, one batch per step, in random order.

    Source: report 000, shuffle round-robin.
    """
    batches = [task for task, count in sorted(batch_counts(sizes, batch_sizes).items()) for _ in range(count)]
    return [(batches[place],) for place in torch.randperm(len(batches), generator=generator).tolist()]


def smart_round_robin(
    sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator
) -> Plan:
    """Take every batch of every task once, in as many steps as the task with the most batches has.

    That task has a batch in every step. Each other task has its batches in a random subset of the steps, drawn
    independently. The rule as printed in the report takes too many batches of the smaller tasks in each epoch.

    Source: report 000, smart round-robin; random subset: Knuth, TAOCP 2, Algorithm 3.4.2S.
    """
    counts = batch_counts(sizes, batch_sizes)
    steps = max(counts.values())
    # Sorted, so that the draws do not depend on the order of the tasks in the config.
    places = {task: set(_subset(steps, counts[task], generator)) for task in sorted(counts)}
    return [tuple(task for task in sizes if step in places[task]) for step in range(steps)]


def interleaved(
    sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator
) -> Plan:
    """Give every step a batch of each task, for as many steps as the largest task has full batches, at least one.

    With batch sizes proportional to `sizes`, all tasks pass through their rows at about the same speed. The streams
    continue from epoch to epoch.

    Source: report 001, interleaved round-robin.
    """
    largest = max(sorted(sizes), key=sizes.__getitem__)  # sorted: with equal sizes, the config's order has no effect
    return [tuple(sizes)] * max(1, sizes[largest] // batch_sizes[largest])


def simultaneous(
    sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator
) -> Plan:
    """Give every step a batch of each task, for as many steps as the first task has batches.

    The streams of the other tasks continue from epoch to epoch.

    Source: report 002, simultaneous training; its first task is SST.
    """
    first = next(iter(sizes))
    return [tuple(sizes)] * batch_counts(sizes, batch_sizes)[first]


def sequential(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Take every batch of the first task, then every batch of the next task, one batch per step.

    Source: report 004, sequential multitask learning: SST, STS, QQP in every epoch.
    """
    return [(task,) for task, count in batch_counts(sizes, batch_sizes).items() for _ in range(count)]


def annealed(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Draw one task per step: in proportion to rows at the start of a stage, almost uniformly at its end.

    The exponent of the rows falls from 1 to 0.2 with the completed share of the stage, however its duration is given.

    Source: Stickland and Murray 2019 (BERT and PALs), annealed sampling.
    """
    return _drawn(sizes, batch_sizes, 1 - 0.8 * progress, generator)


def temperature(
    sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator
) -> Plan:
    """Draw one task per step, in proportion to rows ** (1 / TEMPERATURE)."""
    return _drawn(sizes, batch_sizes, 1 / TEMPERATURE, generator)


BATCH_SCHEDULES: dict[str, BatchSchedule] = {
    "equal": equal,
    "cycle": cycle,
    "shuffle": shuffle,
    "smart_round_robin": smart_round_robin,
    "interleaved": interleaved,
    "simultaneous": simultaneous,
    "sequential": sequential,
    "annealed": annealed,
    "temperature": temperature,
}
PROGRESSIVE = frozenset({"annealed"})
"""Batch schedules that depend on the progress of the stage. Their epochs are planned anew as the stage advances."""
SEVERAL_TASKS_A_STEP = ["smart_round_robin", "cycle", "simultaneous", "equal", "interleaved"]
"""Batch schedules whose steps have batches of several tasks."""
ONE_TASK_A_STEP = ["shuffle", "annealed", "temperature"]
"""Batch schedules whose steps have a batch of one task. "sequential" is not here: its rounds often train one task."""


def _subset(count: int, size: int, generator: torch.Generator) -> list[int]:
    """Draw `size` of the integers below `count`; all subsets are equally likely."""
    return torch.randperm(count, generator=generator)[:size].tolist()


def _drawn(sizes: dict[str, int], batch_sizes: dict[str, int], exponent: float, generator: torch.Generator) -> Plan:
    """Draw one task per step, with replacement, for as many steps as all tasks together have batches."""
    odds, steps = shares(sizes, exponent), sum(batch_counts(sizes, batch_sizes).values())
    weights = torch.tensor(list(odds.values()), dtype=torch.float64)
    singles = [(task,) for task in odds]
    places = torch.multinomial(weights, steps, replacement=True, generator=generator)
    return list(map(singles.__getitem__, places.tolist()))
