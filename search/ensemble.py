"""One run or several -> an ensemble: members per task, what they score on dev, and what they would on other rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import starmap
from typing import Annotated, Any

import numpy as np
import rich
import typer
from rich.table import Table

from model.errors import InputError, unknown
from search.candidates import Candidate, Candidates, collect, searched_tasks
from search.estimates import FOLDS, Figures, cross_fit, cross_fit_single, figures_of, interval, mean_figures
from search.members import FOLDER, Ensemble, Member, write_ensemble
from search.predict import Each, predict_members
from search.runs import Run
from search.selection import STRATEGIES, Library, Selection
from trainers.command import command
from trainers.scores import score
from trainers.seeds import numpy_generator, seed_of

METRICS = "metrics.json"
SCORE = "score"
"""Stands among the tasks for their mean."""
DEFAULT = "greedy"
"""Measured on 12 trials of real data: ahead of Caruana's when cross-fitted, with 3 models to load instead of 13."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Chosen:
    """An ensemble and its figures, not yet written."""

    ensemble: Ensemble
    metrics: dict[str, Any]
    """What `ensemble/metrics.json` holds."""
    notes: list[str]
    """What was left out, in words."""


@dataclass(frozen=True)
class Picked:
    """What a strategy makes of one task's candidates."""

    selection: Selection
    dev: np.ndarray
    """[rows, width], predictions of the rows on which the selection was made."""
    cross_fitted: np.ndarray
    """[rows, width], predictions of each row by a selection made without it."""


def choose(runs: list[Run], strategy: str = DEFAULT, seed: int = 0) -> Chosen:
    """Choose members for every task of the runs.

    Raises:
        InputError: the strategy is unknown, or there is nothing to choose from.
    """
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    candidates = collect(runs, searched_tasks(runs))
    libraries = {task: found.library for task, found in candidates.items()}
    for task, library in libraries.items():
        if len(library.labels) < FOLDS:
            raise InputError(
                f"Task {task} has {len(library.labels)} labelled dev rows; add some: selection needs {FOLDS}."
            )
    seeds = {task: seed_of(seed, "ensemble", task) for task in libraries}
    picked = {
        name: {task: _pick(name, library, seeds[task]) for task, library in libraries.items()} for name in STRATEGIES
    }
    ensemble = Ensemble(
        strategy,
        {task: found.selection.rule for task, found in picked[strategy].items()},
        {task: _members(found, picked[strategy][task].selection) for task, found in candidates.items()},
    )
    metrics = _entries(candidates, picked[strategy], picked["single"], seeds)
    metrics |= {
        "strategy": strategy,
        "seed": seed,
        "rows": {task: len(library.labels) for task, library in libraries.items()},
        "candidates": {task: len(library) for task, library in libraries.items()},
        "strategies": [_strategy_row(name, found, libraries) for name, found in picked.items()],
    }
    return Chosen(ensemble, metrics, [note for found in candidates.values() for note in found.notes])


def write(run: Run, chosen: Chosen) -> None:
    """Write `ensemble/metrics.json` and then `ensemble/members.json`."""
    (run.folder / FOLDER).write_json(METRICS, chosen.metrics)
    write_ensemble(run, chosen.ensemble)


def table(metrics: dict[str, Any]) -> Table:
    """Set the ensemble's figures beside the best single run's."""
    shown = Table("dev", "best single", "ensemble", "best single, cross-fitted", "ensemble, cross-fitted")
    for name in (*metrics["rows"], SCORE):
        entry, single = metrics[name], metrics[name]["best_single"]
        cells = [_cell(side, figure) for figure in ("dev", "cross_fitted") for side in (single, entry)]
        shown.add_row(name, *cells)
    return shown


@app.command(epilog="Example: python -m search.ensemble first --strategy caruana")
def main(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names under --storage, paths or URIs.")],
    strategy: Annotated[str, typer.Option(help=f"How members are chosen: {', '.join(STRATEGIES)}.")] = DEFAULT,
    storage: Annotated[str, typer.Option(help="The folder, or URI, under which runs lie.")] = "runs",
) -> None:
    """Choose the members of the first RUN's ensemble again, from the trials of all RUNs; nothing is trained."""
    with command("search.ensemble"):
        opened = [Run.open(name, storage) for name in runs]
        build(opened, strategy)


def build(runs: list[Run], strategy: str = DEFAULT, each: Each = starmap) -> None:
    """Choose the first run's ensemble, have it predict, and print what it is worth.

    Args:
        each: how the members are called, here or on many machines.

    Raises:
        InputError: the strategy is unknown, or there is nothing to choose from.
    """
    chosen = choose(runs, strategy, runs[0].search["seed"])
    for note in chosen.notes:
        print(note)
    rich.print(table(chosen.metrics))
    metrics = predict_members(runs[0], chosen.ensemble, each)
    write(runs[0], chosen)  # after the predictions: an ensemble that is written has predicted
    print("Ensemble on all dev rows: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(f"Predictions: {runs[0].folder / FOLDER / 'predictions'}")


def _pick(strategy: str, library: Library, seed: int) -> Picked:
    selection = STRATEGIES[strategy](library, numpy_generator(seed, "select", strategy))
    return Picked(selection, selection.combine(library.predictions), cross_fit(STRATEGIES[strategy], library, seed))


def _members(found: Candidates, selection: Selection) -> list[Member]:
    weighty = [number for number in np.argsort(-selection.weights, kind="stable") if selection.weights[number] > 0]
    named = [(found.names[number], float(selection.weights[number])) for number in weighty]
    return [Member(name.run, name.trial, name.round, weight) for name, weight in named]


def _entries(
    candidates: Mapping[str, Candidates], ensemble: dict[str, Picked], single: dict[str, Picked], seeds: dict[str, int]
) -> dict[str, Any]:
    """Return the figures of each task and of the score."""
    figures: dict[str, Figures] = {}
    entries: dict[str, Any] = {}
    for task, found in candidates.items():
        figures[task] = figures_of(found.library, ensemble[task].dev, ensemble[task].cross_fitted, seeds[task])
        best = figures_of(found.library, single[task].dev, single[task].cross_fitted, seeds[task])
        entries[task] = _entry(figures[task], found.names[single[task].selection.weights.argmax()], best)
    libraries = {task: found.library for task, found in candidates.items()}
    return entries | {SCORE: _entry(mean_figures(figures, libraries), *_best_single(candidates, seeds))}


def _best_single(
    candidates: Mapping[str, Candidates], seeds: dict[str, int]
) -> tuple[Candidate, Figures] | tuple[None, None]:
    """Return the candidate that is best over all tasks; none if none predicts them all."""
    shared = [
        name for name in next(iter(candidates.values())).names if all(name in c.names for c in candidates.values())
    ]
    if not shared:
        return None, None
    libraries = {
        task: found.library.candidates([found.names.index(name) for name in shared])
        for task, found in candidates.items()
    }
    best = int(score({task: library.metrics for task, library in libraries.items()}, libraries).argmax())
    pooled = cross_fit_single(libraries, seeds)
    figures = {
        task: figures_of(library, library.predictions[best], pooled[task], seeds[task])
        for task, library in libraries.items()
    }
    return shared[best], mean_figures(figures, libraries)


def _entry(ensemble: Figures, name: Candidate | None, single: Figures | None) -> dict[str, Any]:
    if name is None or single is None:
        return ensemble.entry() | {"gain": None, "gain_interval": None, "best_single": None}
    # The same rows are drawn for both, so what is hard in them cancels.
    gain = ensemble.cross_fitted.resampled - single.cross_fitted.resampled
    return ensemble.entry() | {
        "gain": ensemble.cross_fitted.value - single.cross_fitted.value,
        "gain_interval": interval(gain),
        "best_single": {"run": name.run, "trial": name.trial, "round": name.round, **single.entry()},
    }


def _strategy_row(name: str, picked: dict[str, Picked], libraries: Mapping[str, Library]) -> dict[str, Any]:
    """Return what a strategy scores, without intervals."""
    dev = {task: float(libraries[task].metric(found.dev)) for task, found in picked.items()}
    cross_fitted = {task: float(libraries[task].metric(found.cross_fitted)) for task, found in picked.items()}
    return {
        "strategy": name,
        "members": {task: int(np.count_nonzero(found.selection.weights)) for task, found in picked.items()},
        "dev": dev | {SCORE: float(score(dev, libraries))},
        "cross_fitted": cross_fitted | {SCORE: float(score(cross_fitted, libraries))},
    }


def _cell(entry: dict[str, Any] | None, figure: str) -> str:
    if entry is None:
        return "none"
    low, high = entry[f"{figure}_interval"]
    return f"{entry[figure]:.4f} [{low:.4f}, {high:.4f}]"


if __name__ == "__main__":
    app()
