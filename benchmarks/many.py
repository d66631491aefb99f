"""Measure time and memory of selecting among 5,000 generated candidates per task, and of reading them from files."""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from search.choices import DEFAULT_STRATEGY
from search.selection.candidates import Candidate, measure_candidates, read_shortlisted
from search.selection.cross_fitting import FOLDS, cross_fit, make_folds, row_masks
from search.selection.library import Library
from search.selection.shortlist import best_candidates, metric_and_loss, shortlist
from search.selection.strategies import STRATEGIES
from tests.search.example_run import tokenizer, write_search
from trainers.data.prepare import prepare
from trainers.evaluation.predictions import write_predictions
from trainers.evaluation.scores import predictions
from trainers.folder import Folder
from trainers.seeds import numpy_generator
from trainers.tasks import TASKS, Task
from trainers.trial import PREDICTIONS, round_name

TRIALS, ROUNDS, ROWS = 1000, 5, 10_000
"""Trials, rounds per trial and dev rows per task."""
NAMES = ("sst", "qqp", "sts")
DISTINCT = 20
"""Number of trials whose files are written; the other trials have hard links to these files."""


@dataclass
class Cost:
    """Time and memory of a computation, step by step."""

    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    mebibytes: float = 0.0
    """Peak memory of the process."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of the block to a step."""
        clock, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - clock
        self.cpu_seconds[name] = self.cpu_seconds.get(name, 0) + time.process_time() - cpu
        self.mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def select() -> Cost:
    """Select the members of three tasks as a search does and cross-fit the selection, with predictions in memory."""
    cost, strategy = Cost(), STRATEGIES[DEFAULT_STRATEGY]
    libraries = {name: generated_library(TASKS[name], TRIALS) for name in NAMES}
    for name, library in libraries.items():
        with cost.step("shortlist"):
            masks = row_masks(library.labels, 0)
            measured = [metric_and_loss(library.task, found, library.labels, masks) for found in library.predictions]
            few = library.candidates(shortlist(*np.stack(measured, axis=1)))
        with cost.step("all rows"):
            strategy(few.candidates(best_candidates(few)), numpy_generator(0, name))
        with cost.step("cross-fit"):
            cross_fit(strategy, make_folds([few] * FOLDS, 0), 0)
    return cost


def read(place: Path) -> Cost:
    """Read the candidates of three tasks from a run's files, up to the shortlists for the strategies."""
    cost = Cost()
    run = write_search(place / "run", _corpus(place))
    rounds = {}
    for trial in range(TRIALS):
        folder = run.trial_folder(trial)
        rounds |= {Candidate(run.folder.uri, trial, number): folder for number in range(1, ROUNDS + 1)}
    for name in NAMES:
        _write(run.folder / "trials", run.tasks[name], run.corpus().splits[name]["dev"].ids)
    tasks = {name: run.tasks[name] for name in NAMES}
    with cost.step("all"):
        measured = measure_candidates([run], rounds, tasks, dict.fromkeys(tasks, 0))
    with cost.step("shortlist, again"):
        read_shortlisted([run], rounds, measured)
    return cost


def generated_library(task: Task, trials: int) -> Library:
    """Return the generated candidates of `trials` trials in memory."""
    outputs = generated(task, trials)
    found = np.empty((trials * ROUNDS, ROWS, task.outputs), np.float32)
    for place, values in enumerate(outputs):
        found[place] = predictions(task.kind, values)
    return Library(task, found, labels_of(task))


def generated(task: Task, trials: int) -> Iterator[np.ndarray]:
    """Yield outputs [rows, outputs] of each round of each trial; each trial learns up to its own skill.

    Three kinds of noise make candidates agree as real ones do: all trials share the difficulty of a row, each trial has
    its own errors, and rounds of one trial differ least.
    """
    draw, labels = numpy_generator(1, task.name), labels_of(task)
    signal = np.eye(5)[labels.astype(int)] * 2 if task.kind == "classification" else (labels - labels.mean())[:, None]
    shape = (ROWS, task.outputs)
    difficulty = draw.normal(size=shape, scale=1.5)
    for _ in range(trials):
        skill, own = draw.beta(4, 2), draw.normal(size=shape)
        for number in range(1, ROUNDS + 1):
            learned = skill * (0.5 + 0.5 * number / ROUNDS)
            yield (learned * signal + difficulty + own + 0.4 * draw.normal(size=shape)).astype(np.float32)


def labels_of(task: Task) -> np.ndarray:
    """Return generated labels [rows] of a task."""
    draw = numpy_generator(0, "labels", task.name)
    if task.kind == "regression":
        return draw.uniform(task.low, task.high, ROWS).round(2).astype(np.float32)
    return draw.integers(5 if task.kind == "classification" else 2, size=ROWS).astype(np.float32)


def _corpus(place: Path) -> Path:
    """Write data in the format of the course and tokenise them; return the corpus directory."""
    (place / "data").mkdir(parents=True)
    for name in NAMES:
        task = TASKS[name]
        text = "\t".join("good film" for _ in task.text_columns)
        head = "\t".join(["", "id", *task.text_columns, task.label_column])
        for split, count in (("train", 1), ("dev", ROWS)):
            values = [f"{label:.2f}" if task.kind == "regression" else f"{label:.0f}" for label in labels_of(task)]
            lines = [f"{row}\t{split}{row:020x}\t{text}\t{values[row]}" for row in range(count)]
            (place / "data" / task.files[split]).write_text("\n".join([head, *lines]) + "\n")
    return prepare(str(place / "data"), tokenizer(), rows=None, seed=0, cache=place)[0]


def _write(trials: Folder, task: Task, ids: list[str]) -> None:
    """Write the predictions of all trials for one task."""
    for place, outputs in enumerate(generated(task, DISTINCT)):
        first, number = place // ROUNDS, place % ROUNDS + 1
        name = f"{round_name(number)}-{task.name}.parquet"
        write_predictions(trials / round_name(first) / PREDICTIONS, name, ids, outputs)
        source = Path(trials.path) / round_name(first) / PREDICTIONS / name
        for copy in range(first + DISTINCT, TRIALS, DISTINCT):
            target = Path(trials.path) / round_name(copy) / PREDICTIONS / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
