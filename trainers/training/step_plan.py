"""Plan all optimiser steps and rounds of a run before it starts, from its config and the number of rows per task."""

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
from trainers.methods.batch_schedules import BATCH_SCHEDULES, PROGRESSIVE, Plan
from trainers.seeds import generator
from trainers.training.stage_checks import check_stage

BLOCK = 0.01
"""Share of a stage after which a batch schedule that depends on the progress plans the rest of the epoch again."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step."""

    stage: int
    """Index of the stage in the config."""
    rows: Mapping[str, int]
    """Source (task or text set) -> number of its rows in this step, in the stage's order."""
    done: int
    """Number of earlier steps of the stage."""
    steps: int
    """Number of steps of the stage."""
    examples: int
    """Number of examples from the start of the run to the end of this step."""


@dataclass(frozen=True)
class Round:
    """One report interval: the steps from `start` to `stop - 1`."""

    number: int
    start: int
    stop: int
    examples: int
    """Number of examples from the start of the run to the end of this round."""
    judged: int | None
    """Number of judged rounds up to this round; None if it is not judged.

    A round is judged, and gets a score, if every task of the supervised stages has been trained by its end.
    """
    scored: tuple[str, ...]
    """Tasks to evaluate at the end of the round, in the config's order.

    These are all tasks if the round is judged, else the trained tasks at the end of a stage, and none before.
    """


def plan(config: TrainConfig, corpus: Corpus) -> tuple[list[Step], list[Round]]:
    """Return all steps and rounds of a run, after checking the config against the corpus and the installation.

    Raises:
        InputError: the config needs something that the corpus or the installation lacks, or more rounds than steps.
    """
    check_tasks(config, corpus.tasks)
    sources = dict.fromkeys(source for stage in config.stages for source in stage.sources)
    sizes = corpus.train_sizes(sources | dict.fromkeys(config.tasks))
    for changed in (config, *(config.at(change.round) for change in config.changes)):
        for index, stage in enumerate(changed.stages):
            check_stage(stage, index, corpus)
    return plan_with_changes(config, sizes)


def plan_with_changes(config: TrainConfig, sizes: Mapping[str, int]) -> tuple[list[Step], list[Round]]:
    """Return all steps and rounds; each round's steps come from the config that is in force in that round.

    Args:
        sizes: source -> number of training rows, for all stages.
    """
    steps = plan_steps(config, sizes)
    stops = _stops(config, steps)
    for change in config.changes:
        steps, stops = _after_change(config.at(change.round), change.round, steps, stops, sizes)
    return steps, _rounds(config, steps, stops)


def plan_steps(config: TrainConfig, sizes: Mapping[str, int]) -> list[Step]:
    """Return the steps of all stages, without the config's changes; streams of rows continue from stage to stage.

    Args:
        sizes: source -> number of training rows, for all stages.
    """
    taken: Counter[str] = Counter()
    steps: list[Step] = []
    for index, stage in enumerate(config.stages):
        counts = list(_stage_rows(config, index, {source: sizes[source] for source in stage.sources}, taken))
        examples = steps[-1].examples if steps else 0
        for done, rows in enumerate(counts):
            examples += sum(rows.values())
            steps.append(Step(index, rows, done, len(counts), examples))
    return steps


def plan_rounds(config: TrainConfig, steps: list[Step]) -> list[Round]:
    """Divide each stage into rounds of equally many examples; a round ends with the step that reaches its share.

    Raises:
        InputError: a stage has fewer steps than rounds.
    """
    return _rounds(config, steps, _stops(config, steps))


def stream_name(stage: Stage, source: str) -> str:
    """Name the stream of a source's rows in a stage; each objective of further pretraining has its own streams."""
    return source if stage.supervised else f"{stage.objective} {source}"


def _stops(config: TrainConfig, steps: list[Step]) -> list[int]:
    """Return the number of the step before which each round ends.

    A stage without a judged round has at most one round per step: its rounds only bound what a kill loses.
    """
    stops: list[int] = []
    for index, stage in enumerate(config.stages):
        start = stops[-1] if stops else 0
        if index < _first_judged(config):
            stage = stage.replace(rounds=min(stage.rounds, steps[start].steps))
        if steps[start].steps < stage.rounds:
            raise InputError(
                f"Stage {index} has {steps[start].steps} optimiser steps, fewer than its {stage.rounds} rounds. "
                f"Train longer, use smaller batches, or reduce stages.{index}.rounds."
            )
        stops += _round_ends(steps, start, stage.rounds)
    return stops


def _first_judged(config: TrainConfig) -> int:
    """Return the index of the first stage with a judged round: the stage that is the first to train some last task."""
    trained: set[str] = set()
    for index, stage in enumerate(config.stages):
        trained.update(stage.tasks if stage.supervised else ())
        if trained == set(config.trained):
            return index
    raise AssertionError("the stages train the config's tasks")


def _rounds(config: TrainConfig, steps: list[Step], stops: list[int]) -> list[Round]:
    """Return the rounds that end at `stops`, with the tasks that have been trained by then."""
    rounds: list[Round] = []
    trained: set[str] = set()
    judged = 0
    for number, (start, stop) in enumerate(pairwise([0, *stops]), 1):
        if config.stages[steps[start].stage].supervised:
            trained.update(*(step.rows for step in steps[start:stop]))
        judged += trained == set(config.trained)
        evaluated = trained if steps[stop - 1].done == steps[stop - 1].steps - 1 else ()
        scored = tuple(task for task in config.tasks if judged or task in evaluated)
        rounds.append(Round(number, start, stop, steps[stop - 1].examples, judged or None, scored))
    return rounds


def _after_change(
    config: TrainConfig, round: int, steps: list[Step], stops: list[int], sizes: Mapping[str, int]
) -> tuple[list[Step], list[int]]:
    """Replace all steps and stops from a round on by the plan of another config; streams of rows continue."""
    new_steps = plan_steps(config, sizes)
    new_stops = _stops(config, new_steps)
    kept, skipped = ([0, *places][round - 1] for places in (stops, new_stops))
    after = _continued(config, steps[:kept], new_steps[skipped:], sizes)
    return [*steps[:kept], *after], [*stops[: round - 1], *(stop - skipped + kept for stop in new_stops[round - 1 :])]


def _continued(config: TrainConfig, before: list[Step], steps: list[Step], sizes: Mapping[str, int]) -> Iterator[Step]:
    """Yield steps with the row counts that they have after other steps: an epoch's last batch may be smaller."""
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
    """Yield the number of rows per source for each step of a stage, and add the numbers to `taken`."""
    stage = config.stages[index]
    goal, batch_sizes = _goal(stage, sizes), stage.batch_sizes(sizes)
    # Equal steps share one dict: a plan may have a million steps.
    known: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}
    epoch = steps = examples = 0
    while not goal.reached(steps, examples, epoch):
        planned = goal.progress(steps, examples, epoch)
        plan_of_epoch = _epoch(config, index, epoch, sizes, planned)
        for done in range(len(plan_of_epoch)):
            passed = epoch + done / len(plan_of_epoch)
            if goal.reached(steps, examples, passed):
                return
            progress = goal.progress(steps, examples, passed)
            if stage.batch_schedule in PROGRESSIVE and progress - planned >= BLOCK:
                planned, plan_of_epoch = progress, _epoch(config, index, epoch, sizes, progress)
            rows = _take(stage, plan_of_epoch[done], batch_sizes, sizes, taken)
            examples += sum(rows.values())
            steps += 1
            yield known.setdefault(tuple(rows.items()), rows)
        epoch += 1


def _take(
    stage: Stage, sources: Iterable[str], batch_sizes: dict[str, int], sizes: Mapping[str, int], taken: Counter[str]
) -> dict[str, int]:
    """Return the number of rows that a step takes from each source's stream, and add it to `taken`."""
    rows = {}
    for source in sources:
        name = stream_name(stage, source)
        left = sizes[source] - taken[name] % sizes[source]  # rows of the epoch: its last batch may be smaller
        rows[source] = min(batch_sizes[source], left)
        if stage.objective == "simcse" and left == rows[source] + 1:  # a single row would have no negatives
            rows[source] += 1 if rows[source] <= 2 else -1
        taken[name] += rows[source]
    return rows


def _epoch(config: TrainConfig, index: int, epoch: int, sizes: dict[str, int], progress: float) -> Plan:
    """Return the sources of each optimiser step of one epoch, all of it planned for one progress of the stage."""
    stage = config.stages[index]
    draw = generator(config.seed, index, epoch, "batch schedule")
    steps = BATCH_SCHEDULES[stage.batch_schedule](sizes, stage.batch_sizes(sizes), progress, draw)
    return steps if stage.update == "together" else [(source,) for sources in steps for source in sources]


def _round_ends(steps: list[Step], start: int, rounds: int) -> Iterator[int]:
    """Yield the stop of each round of the stage that begins with step `start`."""
    stop = start + steps[start].steps
    before = steps[start - 1].examples if start else 0
    total = steps[stop - 1].examples - before
    for number in range(1, rounds + 1):
        goal = before + total * number / rounds
        latest = stop - 1 - (rounds - number)  # each later round needs a step
        start = 1 + bisect_left(steps, goal, start, latest, key=lambda step: step.examples)
        yield start


@dataclass(frozen=True)
class _Goal:
    """The duration of a stage; the limits that do not apply are infinite."""

    steps: float = math.inf
    examples: float = math.inf
    epochs: float = math.inf

    def reached(self, steps: int, examples: int, epochs: float) -> bool:
        return steps >= self.steps or examples >= self.examples or epochs >= self.epochs

    def progress(self, steps: int, examples: int, epochs: float) -> float:
        """Return the completed share of the stage."""
        return max(steps / self.steps, examples / self.examples, epochs / self.epochs)


def _goal(stage: Stage, sizes: dict[str, int]) -> _Goal:
    if stage.passes:
        return _Goal(examples=stage.passes * sum(sizes.values()))
    if stage.examples:
        return _Goal(examples=stage.examples)
    return _Goal(steps=stage.steps) if stage.steps else _Goal(epochs=stage.epochs or 0)
