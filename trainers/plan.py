"""A config and the sizes of its tasks -> every optimiser step of the run, known before it starts."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from model.errors import InputError
from trainers.batch_schedules import BATCH_SCHEDULES
from trainers.config import Stage, TrainConfig
from trainers.seeds import generator


@dataclass(frozen=True)
class Step:
    """One optimiser step."""

    stage: int
    rows: dict[str, int]
    """Task -> rows of it that meet in this step."""
    done: int
    """Steps of the stage before this one."""
    steps: int
    """Steps of the stage."""
    examples: int
    """Examples of the whole run up to and with this step."""


@dataclass(frozen=True)
class Round:
    """One report interval: steps from `start` up to, without, `stop`."""

    number: int
    start: int
    stop: int
    examples: int
    """Examples of the whole run at its end."""
    judged: int | None
    """How many rounds have been judged with it; None where a scored task has not been trained yet."""


def plan_steps(config: TrainConfig, sizes: dict[str, int]) -> list[Step]:
    """Lay out every step of every stage; streams continue from stage to stage.

    Args:
        sizes: task -> training rows.
    """
    taken: Counter[str] = Counter()
    plan: list[Step] = []
    for index, stage in enumerate(config.stages):
        rows = list(_stage_rows(config, index, {task: sizes[task] for task in stage.tasks}, taken))
        examples = itertools.accumulate((sum(step.values()) for step in rows), initial=plan[-1].examples if plan else 0)
        ends = list(examples)[1:]
        plan += [
            Step(index, step, done, len(rows), end) for done, (step, end) in enumerate(zip(rows, ends, strict=True))
        ]
    return plan


def plan_rounds(config: TrainConfig, plan: list[Step]) -> list[Round]:
    """Cut each stage into rounds of equally many examples; a round ends with the step that completes it.

    Raises:
        InputError: a stage has fewer steps than rounds.
    """
    rounds: list[Round] = []
    trained: set[str] = set()
    judged = 0
    for index, stage in enumerate(config.stages):
        place = [number for number, step in enumerate(plan) if step.stage == index]
        if len(place) < stage.rounds:
            raise InputError(
                f"Stage {index} has {len(place)} optimiser steps, fewer than its {stage.rounds} rounds. "
                "Train longer, take smaller batches or fewer rounds."
            )
        before = plan[place[0] - 1].examples if place[0] else 0
        total = plan[place[-1]].examples - before
        start = place[0]
        for number in range(1, stage.rounds + 1):
            goal = before + total * number / stage.rounds
            latest = place[number - 1 - stage.rounds]  # a step is left for each round to come
            stop = 1 + next(at for at in place if at >= start and (plan[at].examples >= goal or at == latest))
            trained |= {task for step in plan[start:stop] for task in step.rows}
            judged += trained >= set(config.tasks)
            rounds.append(Round(len(rounds) + 1, start, stop, plan[stop - 1].examples, judged or None))
            start = stop
    return rounds


def _stage_rows(
    config: TrainConfig, index: int, sizes: dict[str, int], taken: Counter[str]
) -> Iterator[dict[str, int]]:
    """Yield the rows of each task in each step of a stage, and count them as taken."""
    stage = config.stages[index]
    goal = _goal(stage, sizes)
    steps = examples = 0
    for epoch in itertools.count():
        draw = generator(config.seed, index, epoch, "batch schedule")
        steps_of_epoch = BATCH_SCHEDULES[stage.batch_schedule](sizes, stage.batch_sizes(), draw)
        whole = len(steps_of_epoch)
        for done, tasks in enumerate(steps_of_epoch):
            if goal.reached(steps, examples, epoch + done / whole):
                return
            rows = {task: _batch_rows(sizes[task], stage.batch_sizes()[task], taken[task]) for task in tasks}
            taken.update(rows)
            steps, examples = steps + 1, examples + sum(rows.values())
            yield rows


@dataclass(frozen=True)
class _Goal:
    steps: float = float("inf")
    examples: float = float("inf")
    epochs: float = float("inf")

    def reached(self, steps: int, examples: int, epochs: float) -> bool:
        return steps >= self.steps or examples >= self.examples or epochs >= self.epochs


def _goal(stage: Stage, sizes: dict[str, int]) -> _Goal:
    if stage.passes:
        return _Goal(examples=stage.passes * sum(sizes.values()))
    if stage.examples:
        return _Goal(examples=stage.examples)
    return _Goal(steps=stage.steps) if stage.steps else _Goal(epochs=stage.epochs or 0)


def _batch_rows(size: int, batch_size: int, taken: int) -> int:
    """Return the rows of a task's next batch: the last one of a pass is shorter."""
    return min(batch_size, size - taken % size)
