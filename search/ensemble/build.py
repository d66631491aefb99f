"""One run or several -> an ensemble: chosen, its members' predictions made, and all of it written."""

from itertools import starmap
from typing import Any

import rich
from rich.table import Table

from search.ensemble.choose import DEFAULT, Chosen, choose
from search.ensemble.members import FILE, FOLDER, METRICS, write_ensemble
from search.ensemble.predict import Each, predict_members
from search.ensemble.soup import write_soup
from search.runs.objectives import SCORE
from search.runs.run import Run

NO_SOUP = "none"
"""The default: a greedy soup takes tens of passes over the dev rows, and among 72 trials it gained nothing."""


def write(run: Run, chosen: Chosen) -> None:
    """Write `ensemble/metrics.json` and then `ensemble/members.json`."""
    (run.folder / FOLDER).write_json(METRICS, chosen.metrics)
    write_ensemble(run, chosen.ensemble)


def _forget(run: Run) -> None:
    """Delete what was chosen before: its soup and its predictions are about to be written over."""
    for name in (FILE, METRICS):
        (run.folder / FOLDER).delete(name)


def table(metrics: dict[str, Any]) -> Table:
    """Set the ensemble's figures beside those of the best rounds: each task's own, and for the score one for all."""
    shown = Table("dev", "best single", "ensemble", "best single, cross-fitted", "ensemble, cross-fitted")
    shown.caption = "Best single: each task's own best round; of the score, the round that is best over all tasks."
    for name in (*metrics["rows"], SCORE):
        entry, single = metrics[name], metrics[name]["best_single"]
        cells = [_cell(side, figure) for figure in ("dev", "cross_fitted") for side in (single, entry)]
        shown.add_row(name, *cells)
    return shown


def build(runs: list[Run], strategy: str = DEFAULT, soup: str = NO_SOUP, each: Each = starmap) -> None:
    """Choose the first run's ensemble, have it predict, and print what it is worth.

    Args:
        each: how the members are called, here or on many machines.

    Raises:
        InputError: the strategy or the soup is unknown, or there is nothing to choose from.
    """
    chosen = choose(runs, strategy, runs[0].search["seed"], soup=soup, each=each)
    for note in chosen.notes:
        print(note)
    rich.print(table(chosen.metrics))
    _forget(runs[0])
    write_soup(runs[0], chosen.soup)
    metrics = predict_members(runs[0], chosen.ensemble, each)
    write(runs[0], chosen)  # after the predictions: an ensemble that is written has predicted
    print("Ensemble on all dev rows: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(f"Predictions: {runs[0].folder / FOLDER / 'predictions'}")


def _cell(entry: dict[str, Any] | None, figure: str) -> str:
    if entry is None:
        return "none"
    low, high = entry[f"{figure}_interval"]
    return f"{entry[figure]:.4f} [{low:.4f}, {high:.4f}]"
