"""Measure the cost of selection among thousands of candidates, and compare all ways to combine models on a real run.

`python -m benchmarks.ensemble [RUN]` uses all rounds with predictions as candidates, and rounds with weights for soups.
"""

import multiprocessing
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table

from benchmarks import many
from benchmarks.many import Cost
from search import options
from search.ensemble.soup import SOUPS, WeightAverages, make_soups
from search.runs.run import Run
from search.selection.bootstrap import interval
from search.selection.candidates import Candidate, CandidateMetrics, Rounds, kept_rounds, read_candidates
from search.selection.cross_fitting import MASKS, CrossFitted, row_masks
from search.selection.library import Library, tasks_of
from search.selection.shortlist import LIMIT, best_candidates, metric_and_loss, rank
from search.selection.strategies import STRATEGIES
from trainers.data.stratified import stratified_sample
from trainers.evaluation.scores import predictions, score
from trainers.seeds import numpy_generator

HALVES = 20
"""Number of random splits of the rows: members are selected on one half and scored on the other."""

WIDTH = 140
"""Width of the printed tables in characters."""

Predicted = dict[str, np.ndarray]
"""Task -> predictions [rows, width] of all rows."""
Way = Callable[[int], Predicted]
"""(number of a row mask) -> predictions of the models that were selected on the rows of the mask."""


def main(
    run: Annotated[str, typer.Argument(help="A run: its name under --storage, a path or a URI.")] = "surface",
    storage: options.Storage = "runs",
    kept: Annotated[
        bool, typer.Option("--kept", help="Select among rounds with weights only, as a search does.")
    ] = False,
    scale: Annotated[bool, typer.Option(help="Measure time and memory of selection on generated candidates.")] = True,
    soups: Annotated[bool, typer.Option(help="Evaluate averages of weights, too; this takes forward passes.")] = True,
) -> None:
    """Measure selection among thousands of generated candidates, then compare strategies on a run."""
    if scale:
        with tempfile.TemporaryDirectory() as place:
            for title, work in (("selection", many.select), ("reading", partial(many.read, Path(place)))):
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                    Console(width=WIDTH).print(_costs(title, alone.submit(work).result()))
    opened = Run.open(run, storage)
    rounds = kept_rounds([opened]) if kept else _rounds(opened)
    libraries = {task: read_candidates([opened], rounds, opened.tasks[task]).library for task in opened.search.tasks}
    masks = {task: _masks(library.labels) for task, library in libraries.items()}
    ways = _ways(libraries, masks)
    if soups:
        ways |= _soups(opened, libraries, masks)
    for task, library in libraries.items():
        print(f"{task}: {len(library)} candidates, {len(library.labels)} rows.")
    Console(width=WIDTH).print(_comparison(ways, libraries, masks))


def _rounds(run: Run) -> Rounds:
    """Return all rounds of complete trials."""
    return {
        Candidate(run.folder.uri, trial.number, row.round): trial.folder
        for trial in run.trials()
        if trial.state == TrialState.COMPLETE.name
        for row in trial.rows
        if row.finite
    }


def _masks(labels: np.ndarray) -> np.ndarray:
    """Return masks [masks, rows]: all rows, the rows outside each fold, and random halves stratified by label."""
    halves = np.zeros((HALVES, len(labels)), bool)
    for number, half in enumerate(halves):
        half[stratified_sample(labels, len(labels) // 2, numpy_generator(number, "half"))] = True
    return np.concatenate([row_masks(labels, 0), halves])


def _ways(libraries: Mapping[str, Library], masks: Mapping[str, np.ndarray]) -> dict[str, Way]:
    """Return the best single round over all tasks and every strategy, by name."""
    measured = {task: _measured(library, masks[task]) for task, library in libraries.items()}
    metrics = {task: metrics for task, (metrics, _) in measured.items()}
    scores = score(metrics, tasks_of(libraries))  # [candidates, masks]

    def single(mask: int) -> Predicted:
        return {task: library.predictions[scores[:, mask].argmax()] for task, library in libraries.items()}

    def selected(strategy: str, mask: int) -> Predicted:
        found = {}
        for task, library in libraries.items():
            few = library.candidates(np.sort(rank(*measured[task])[:LIMIT, mask]))
            selection = STRATEGIES[strategy](few.rows(masks[task][mask]), numpy_generator(mask, strategy))
            found[task] = selection.combine(few.predictions)
        return found

    return {"best single run": single} | {name: lambda mask, name=name: selected(name, mask) for name in STRATEGIES}


def _soups(run: Run, libraries: Mapping[str, Library], masks: Mapping[str, np.ndarray]) -> dict[str, Way]:
    """Return each soup alone, and the greedy strategy with the soup as an additional candidate, by name."""
    rounds = kept_rounds([run])
    kept = {task: read_candidates([run], rounds, library.task) for task, library in libraries.items()}
    measured = {
        task: CandidateMetrics(found.library.task, found.names, *_measured(found.library, masks[task]), [])
        for task, found in kept.items()
    }
    averages = WeightAverages(run, kept, masks, starmap)
    scores = score({task: found.metrics for task, found in measured.items()}, tasks_of(libraries))
    ways: dict[str, Way] = {}
    for method in (name for name in SOUPS if name != "none"):
        made = make_soups(method, run, measured, averages)

        def alone(mask: int, made=made) -> Predicted:
            soup = made[mask]
            if not soup:  # the soup is its first ingredient alone
                return {task: found.library.predictions[scores[:, mask].argmax()] for task, found in kept.items()}
            return {task: predictions(library.task.kind, soup.outputs[task]) for task, library in libraries.items()}

        def joined(mask: int, made=made) -> Predicted:
            soup, found = made[mask], {}
            for task, library in libraries.items():
                if soup:
                    library = library.joined(predictions(library.task.kind, soup.outputs[task][None]))
                others = library.rows(masks[task][mask])
                few = best_candidates(others)
                selection = STRATEGIES["greedy"](others.candidates(few), numpy_generator(mask))
                found[task] = selection.combine(library.predictions[few])
            return found

        ways |= {f"{method} soup": alone, f"greedy with {method} soup": joined}
    print(f"Evaluated {len(averages.outputs)} averages of weights.")
    return ways


def _measured(library: Library, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the metrics and the losses of every candidate on the rows of every mask, each [candidates, masks]."""
    measured = [metric_and_loss(library.task, found, library.labels, masks) for found in library.predictions]
    metrics, losses = np.stack(measured, axis=1)
    return metrics, losses


def _comparison(ways: Mapping[str, Way], libraries: Mapping[str, Library], masks: Mapping[str, np.ndarray]) -> Table:
    """Score every way on the rows of its selection, cross-fitted, and on unseen halves."""
    table: dict[str, list[str]] = {}
    unseen: dict[str, np.ndarray] = {}
    for name, way in ways.items():
        made = [way(mask) for mask in range(MASKS + HALVES)]
        everywhere = {task: np.ones(len(library.labels), bool) for task, library in libraries.items()}
        of_folds = {
            task: _cross_fitted([predicted[task] for predicted in made[1:MASKS]], ~masks[task][1:MASKS])
            for task in libraries
        }
        metrics = {task: found.metric(libraries[task]) for task, found in of_folds.items()}
        parts = [{task: ~found[mask] for task, found in masks.items()} for mask in range(MASKS, MASKS + HALVES)]
        scores = [_score(found, libraries, part) for found, part in zip(made[MASKS:], parts, strict=True)]
        unseen[name] = np.array(scores)
        dev, cross_fitted = _score(made[0], libraries, everywhere), float(score(metrics, tasks_of(libraries)))
        table[name] = [f"{dev:.4f}", f"{cross_fitted:.4f}", f"{unseen[name].mean():.4f} {_text(unseen[name])}"]
    shown = Table("", "dev, same rows", "cross-fitted", "unseen halves", "over the best single run", "over greedy")
    for name, cells in table.items():
        gains = [unseen[name] - unseen[other] for other in ("best single run", "greedy")]
        shown.add_row(name, *cells, *(f"{gain.mean():+.4f} {_text(gain)}" for gain in gains))
    return shown


def _cross_fitted(predicted: list[np.ndarray], held_out: np.ndarray) -> CrossFitted:
    """Take each fold's predictions of its own rows.

    Args:
        predicted: predictions [rows, width] of all rows by each fold's selection.
        held_out: [folds, rows], whether a row belongs to a fold.
    """
    folds = held_out.argmax(axis=0)
    return CrossFitted(np.stack(predicted)[folds, np.arange(len(folds))], folds)


def _score(found: Predicted, libraries: Mapping[str, Library], rows: Mapping[str, np.ndarray]) -> float:
    metrics = {task: library.rows(rows[task]).metric(found[task][rows[task]]) for task, library in libraries.items()}
    return float(score(metrics, tasks_of(libraries)))


def _text(values: np.ndarray) -> str:
    low, high = interval(values)
    return f"[{low:.4f}, {high:.4f}]"


def _costs(title: str, cost: Cost) -> Table:
    shown = Table(title, "seconds", "CPU seconds", title=f"{title}: {cost.mebibytes:,.0f} MiB peak memory")
    for step, seconds in cost.seconds.items():
        shown.add_row(step, f"{seconds:.1f}", f"{cost.cpu_seconds[step]:.1f}")
    shown.add_row("total", f"{sum(cost.seconds.values()):.1f}", f"{sum(cost.cpu_seconds.values()):.1f}")
    return shown


if __name__ == "__main__":
    typer.run(main)
