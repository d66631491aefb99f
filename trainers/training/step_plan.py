"""A config and the sizes of its tasks -> every optimiser step of the run, known before it starts."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from model.errors import InputError
from trainers.config.task_checks import check_tasks
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.corpus import Corpus
from trainers.methods.batch_schedules import BATCH_SCHEDULES, Plan
from trainers.methods.surgery import check_surgery
from trainers.seeds import generator


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step."""

    stage: int
    rows: Mapping[str, int]
    """Source (task or text set) -> rows of it that meet in this step, in the stage's order."""
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
    """How many rounds have been judged with it; None where a task that a stage trains has not been trained yet."""
    scored: tuple[str, ...]
    """Tasks to evaluate at its end, in the config's order: those trained by then; all, once rounds are judged."""


def plan(config: TrainConfig, corpus: Corpus) -> tuple[list[Step], list[Round]]:
    """Check a config against its data and what is installed; return all steps and rounds of its run.

    Raises:
        InputError: the config asks for what the data or the installation lack, or for more rounds than steps.
    """
    check_tasks(config, corpus.tasks)
    sources = dict.fromkeys(source for stage in config.stages for source in stage.sources)
    sizes = corpus.train_sizes(sources | dict.fromkeys(config.tasks))
    for stage in config.stages:
        _check_stage(stage, corpus)
    return plan_all(config, sizes)


def plan_all(config: TrainConfig, sizes: Mapping[str, int]) -> tuple[list[Step], list[Round]]:
    """Return all steps and rounds: each round has its steps from the plan of the config that it is trained with.

    Args:
        sizes: source -> training rows, of all stages.
    """
    steps = plan_steps(config, sizes)
    stops = _stops(config, steps)
    for change in config.changes:
        steps, stops = _turned(config.at(change.round), change.round, steps, stops, sizes)
    return steps, _rounds(config, steps, stops)


def plan_steps(config: TrainConfig, sizes: Mapping[str, int]) -> list[Step]:
    """Lay out every step of every stage, as if nothing changed; streams continue from stage to stage.

    Args:
        sizes: source -> training rows, of all stages.
    """
    taken: Counter[str] = Counter()
    steps: list[Step] = []
    for index, stage in enumerate(config.stages):
        rows = list(_stage_rows(config, index, {source: sizes[source] for source in stage.sources}, taken))
        end = steps[-1].examples if steps else 0
        for done, row in enumerate(rows):
            end += sum(row.values())
            steps.append(Step(index, row, done, len(rows), end))
    return steps


def plan_rounds(config: TrainConfig, steps: list[Step]) -> list[Round]:
    """Cut each stage into rounds of equally many examples; a round ends with the step that completes it.

    Raises:
        InputError: a stage has fewer steps than rounds.
    """
    return _rounds(config, steps, _stops(config, steps))


def stream_name(stage: Stage, source: str) -> str:
    """Name the stream that a stage takes a source's rows from: further pretraining has one of its own by objective."""
    return source if stage.supervised else f"{stage.objective} {source}"


def _check_stage(stage: Stage, corpus: Corpus) -> None:
    """Check what a stage needs of the data and of what is installed."""
    check_surgery(stage.surgery)
    if stage.objective == "mlm" and corpus.special_tokens.mask is None:
        raise InputError("The encoder's tokenizer has no token that hides another. Leave the mlm stage out.")
    alone = [source for source in stage.sources if len(corpus.sides(source)) == 1]
    if stage.simcse.supervised and alone:
        raise InputError(
            f"Supervised simcse takes a sentence's positive from its line, and text set {alone[0]!r} has one sentence "
            "a line. Take another set, or set simcse.supervised to false."
        )


def _stops(config: TrainConfig, steps: list[Step]) -> list[int]:
    """Return where each round stops."""
    stops: list[int] = []
    for index, stage in enumerate(config.stages):
        start = stops[-1] if stops else 0
        if steps[start].steps < stage.rounds:
            raise InputError(
                f"Stage {index} has {steps[start].steps} optimiser steps, fewer than its {stage.rounds} rounds. "
                f"Train longer, take smaller batches, or set stages.{index}.rounds to less."
            )
        stops += _round_ends(steps, start, stage.rounds)
    return stops


def _rounds(config: TrainConfig, steps: list[Step], stops: list[int]) -> list[Round]:
    """Say of every round what has been trained by its end."""
    rounds: list[Round] = []
    trained: set[str] = set()
    judged = 0
    for number, (start, stop) in enumerate(pairwise([0, *stops]), 1):
        if config.stages[steps[start].stage].supervised:
            trained.update(*(step.rows for step in steps[start:stop]))
        judged += trained == set(config.trained)
        scored = tuple(task for task in config.tasks if judged or task in trained)
        rounds.append(Round(number, start, stop, steps[stop - 1].examples, judged or None, scored))
    return rounds


def _turned(
    config: TrainConfig, round: int, steps: list[Step], stops: list[int], sizes: Mapping[str, int]
) -> tuple[list[Step], list[int]]:
    """Replace the steps from a round on by those that another config has there; streams go on where they are."""
    others = plan_steps(config, sizes)
    ends = _stops(config, others)
    kept, left_out = ([0, *places][round - 1] for places in (stops, ends))
    turned = [*steps[:kept], *_continued(config, steps[:kept], others[left_out:], sizes)]
    return turned, [*stops[: round - 1], *(end - left_out + kept for end in ends[round - 1 :])]


def _continued(config: TrainConfig, before: list[Step], steps: list[Step], sizes: Mapping[str, int]) -> Iterator[Step]:
    """Yield steps with the rows that they take after others: where a pass ends depends on what has been taken."""
    taken: Counter[str] = Counter()
    for step in before:
        taken.update({stream_name(config.stages[step.stage], source): count for source, count in step.rows.items()})
    batch_sizes = [stage.batch_sizes(sizes) for stage in config.stages]
    examples = before[-1].examples if before else 0
    known: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}
    for step in steps:
        rows = _take(config.stages[step.stage], step.rows, batch_sizes[step.stage], sizes, taken)
        examples += sum(rows.values())
        yield replace(step, rows=known.setdefault(tuple(rows.items()), rows), examples=examples)


def _stage_rows(
    config: TrainConfig, index: int, sizes: dict[str, int], taken: Counter[str]
) -> Iterator[Mapping[str, int]]:
    """Yield the rows of each source in each step of a stage, and count them as taken."""
    stage = config.stages[index]
    goal, batch_sizes = _goal(stage, sizes), stage.batch_sizes(sizes)
    known: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}  # equal steps share one dict: there may be a million
    epoch = steps = examples = 0
    while not goal.reached(steps, examples, epoch):
        plan_of_epoch = _epoch(config, index, epoch, sizes, goal.progress(steps, examples, epoch))
        for done, sources in enumerate(plan_of_epoch):
            if goal.reached(steps, examples, epoch + done / len(plan_of_epoch)):
                return
            rows = _take(stage, sources, batch_sizes, sizes, taken)
            examples += sum(rows.values())
            steps += 1
            yield known.setdefault(tuple(rows.items()), rows)
        epoch += 1


def _take(
    stage: Stage, sources: Iterable[str], batch_sizes: dict[str, int], sizes: Mapping[str, int], taken: Counter[str]
) -> dict[str, int]:
    """Return how many rows of each source a step takes from its stream, and count them as taken."""
    rows = {}
    for source in sources:
        name = stream_name(stage, source)
        rows[source] = min(batch_sizes[source], sizes[source] - taken[name] % sizes[source])  # a pass ends shorter
        taken[name] += rows[source]
    return rows


def _epoch(config: TrainConfig, index: int, epoch: int, sizes: dict[str, int], progress: float) -> Plan:
    """Return which sources meet in each optimiser step of one epoch."""
    stage = config.stages[index]
    draw = generator(config.seed, index, epoch, "batch schedule")
    met = BATCH_SCHEDULES[stage.batch_schedule](sizes, stage.batch_sizes(sizes), progress, draw)
    return met if stage.update == "together" else [(source,) for sources in met for source in sources]


def _round_ends(steps: list[Step], start: int, rounds: int) -> Iterator[int]:
    """Yield where each round of the stage that starts at `start` stops."""
    stop = start + steps[start].steps
    before = steps[start - 1].examples if start else 0
    total = steps[stop - 1].examples - before
    for number in range(1, rounds + 1):
        goal = before + total * number / rounds
        latest = stop - 1 - (rounds - number)  # a step is left for each round to come
        start = 1 + bisect_left(steps, goal, start, latest, key=lambda step: step.examples)
        yield start


@dataclass(frozen=True)
class _Goal:
    """How long a stage lasts."""

    steps: float = math.inf
    examples: float = math.inf
    epochs: float = math.inf

    def reached(self, steps: int, examples: int, epochs: float) -> bool:
        return steps >= self.steps or examples >= self.examples or epochs >= self.epochs

    def progress(self, steps: int, examples: int, epoch: int) -> float:
        """Return the share of the stage that is done when an epoch begins; counted in epochs, 1 in the last one."""
        if self.epochs < math.inf:
            return epoch / max(1, math.ceil(self.epochs) - 1)
        return max(steps / self.steps, examples / self.examples)


def _goal(stage: Stage, sizes: dict[str, int]) -> _Goal:
    if stage.passes:
        return _Goal(examples=stage.passes * sum(sizes.values()))
    if stage.examples:
        return _Goal(examples=stage.examples)
    return _Goal(steps=stage.steps) if stage.steps else _Goal(epochs=stage.epochs or 0)
