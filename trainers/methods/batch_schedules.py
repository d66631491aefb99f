"""Sizes of the tasks -> the plan of one epoch: which tasks' batches meet in each optimiser step."""

import math
from collections.abc import Callable

import torch

Plan = list[tuple[str, ...]]
"""[steps]: the tasks of each step, one batch of each; tasks that meet stand in the order of the config."""

BatchSchedule = Callable[[dict[str, int], dict[str, int], float, torch.Generator], Plan]
"""(training rows by task, rows a batch by task, share of the stage that is done, generator of the epoch) -> plan."""

TEMPERATURE = 2.0
"""In proportion to the square root of the rows: the other rule that Stickland and Murray 2019 compare."""


def batch_counts(sizes: dict[str, int], batch_sizes: dict[str, int]) -> dict[str, int]:
    """Count the batches of a pass over each task's rows; the last batch of a pass may be a short one."""
    return {task: math.ceil(size / batch_sizes[task]) for task, size in sizes.items()}


def proportional_sizes(sizes: dict[str, int], largest: int) -> dict[str, int]:
    """Return rows a batch in proportion to the tasks' rows, `largest` for the largest task, at least one for each.

    Source: report 001, interleaved round-robin.
    """
    most = max(sizes.values())
    return {task: max(1, largest * size // most) for task, size in sizes.items()}


def shares(sizes: dict[str, int], exponent: float) -> dict[str, float]:
    """Return each task's share of the draws, in proportion to its rows to the power of `exponent`; by name."""
    powers = {task: sizes[task] ** exponent for task in sorted(sizes)}
    return {task: power / sum(powers.values()) for task, power in powers.items()}


def equal(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Let all tasks meet in every step of a pass over the one with fewest batches; the others go on across epochs.

    Source: reports 001 and 004, round-robin.
    """
    return [tuple(sizes)] * min(batch_counts(sizes, batch_sizes).values())


def cycle(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Let all tasks meet in every step of a pass over the one with most batches; the others start again.

    Source: report 000, cycle round-robin.
    """
    return [tuple(sizes)] * max(batch_counts(sizes, batch_sizes).values())


def shuffle(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Take every batch of every task once, one a step, in random order.

    Source: report 000, shuffle round-robin.
    """
    batches = [task for task, count in sorted(batch_counts(sizes, batch_sizes).items()) for _ in range(count)]
    return [(batches[place],) for place in torch.randperm(len(batches), generator=generator).tolist()]


def smart_round_robin(
    sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator
) -> Plan:
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


def interleaved(
    sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator
) -> Plan:
    """Let all tasks meet in every step, for as many steps as the largest task has full batches, at least one.

    Batch sizes in proportion to `sizes` pass through all tasks at about the same speed; streams go on across epochs.

    Source: report 001, interleaved round-robin.
    """
    largest = max(sorted(sizes), key=sizes.__getitem__)  # sorted: of two as large, the config's order decides nothing
    return [tuple(sizes)] * max(1, sizes[largest] // batch_sizes[largest])


def simultaneous(
    sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator
) -> Plan:
    """Let all tasks meet in every step of a pass over the first one; the others' streams go on across epochs.

    Source: report 002, simultaneous training, whose first task is SST.
    """
    first = next(iter(sizes))
    return [tuple(sizes)] * batch_counts(sizes, batch_sizes)[first]


def sequential(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Take every batch of the first task, then every batch of the next one.

    Source: report 004, sequential multitask learning: SST, STS, QQP in every epoch.
    """
    return [(task,) for task, count in batch_counts(sizes, batch_sizes).items() for _ in range(count)]


def annealed(sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator) -> Plan:
    """Draw one task a step: by its rows at the start of a stage, almost evenly at its end.

    Source: Stickland and Murray 2019 (BERT and PALs), annealed sampling.
    """
    return _drawn(sizes, batch_sizes, 1 - 0.8 * progress, generator)


def temperature(
    sizes: dict[str, int], batch_sizes: dict[str, int], progress: float, generator: torch.Generator
) -> Plan:
    """Draw one task a step, by a root of its rows."""
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
SEVERAL_TASKS_A_STEP = ["smart_round_robin", "cycle", "simultaneous", "equal", "interleaved"]
"""Batch schedules whose steps have batches of several tasks."""
ONE_TASK_A_STEP = ["shuffle", "annealed", "temperature"]
"""Batch schedules whose steps have a batch of one task. "sequential" is not here: its rounds often train one task."""


def _subset(count: int, size: int, generator: torch.Generator) -> list[int]:
    """Draw `size` of the numbers below `count`, all subsets equally likely."""
    return torch.randperm(count, generator=generator)[:size].tolist()


def _drawn(sizes: dict[str, int], batch_sizes: dict[str, int], exponent: float, generator: torch.Generator) -> Plan:
    """Draw one task a step, with replacement, for as many steps as there are batches in all."""
    odds, steps = shares(sizes, exponent), sum(batch_counts(sizes, batch_sizes).values())
    weights = torch.tensor(list(odds.values()), dtype=torch.float64)
    singles = [(task,) for task in odds]
    places = torch.multinomial(weights, steps, replacement=True, generator=generator)
    return [singles[place] for place in places.tolist()]
