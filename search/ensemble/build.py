"""One run or several -> an ensemble: chosen, its members' predictions made, and all of it written."""

from itertools import starmap

import rich
from rich.table import Table

from search.ensemble.choose import DEFAULT, Chosen, choose
from search.ensemble.estimates import ESTIMATES_FILE, EnsembleEstimates, Estimate, write_estimates
from search.ensemble.members import FOLDER, MEMBERS_FILE, write_ensemble
from search.ensemble.predict import Each, predict_members
from search.ensemble.soup import write_soup
from search.runs.run import Run

NO_SOUP = "none"
"""The default: a greedy soup takes tens of passes over the dev rows, and among 72 trials it gained nothing."""


def write(run: Run, chosen: Chosen) -> None:
    """Write `ensemble/metrics.json` and then `ensemble/members.json`."""
    write_estimates(run, chosen.estimates)
    write_ensemble(run, chosen.ensemble)


def _forget(run: Run) -> None:
    """Delete what was chosen before: its soup and its predictions are about to be written over."""
    for name in (MEMBERS_FILE, ESTIMATES_FILE):
        (run.folder / FOLDER).delete(name)


def table(estimates: EnsembleEstimates) -> Table:
    """Set the ensemble's figures beside those of the best rounds: each task's own, and for the score one for all."""
    shown = Table("dev", "best single", "ensemble", "best single, cross-fitted", "ensemble, cross-fitted")
    shown.caption = "Best single: each task's own best round; of the score, the round that is best over all tasks."
    for name, found in estimates.tasks_and_score.items():
        single = found.best_single
        dev = [_cell(single.dev if single else None), _cell(found.dev)]
        shown.add_row(name, *dev, _cell(single.cross_fitted if single else None), _cell(found.cross_fitted))
    return shown


def build(runs: list[Run], strategy: str = DEFAULT, soup: str = NO_SOUP, each: Each = starmap) -> None:
    """Choose the first run's ensemble, have it predict, and print what it is worth.

    Args:
        each: how the members are called, here or on many machines.

    Raises:
        InputError: the strategy or the soup is unknown, or there is nothing to choose from.
    """
    chosen = choose(runs, strategy, runs[0].search.seed, soup=soup, each=each)
    for note in chosen.notes:
        print(note)
    rich.print(table(chosen.estimates))
    _forget(runs[0])
    write_soup(runs[0], chosen.soup)
    metrics = predict_members(runs[0], chosen.ensemble, each)
    write(runs[0], chosen)  # after the predictions: an ensemble that is written has predicted
    print("Ensemble on all dev rows: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(f"Predictions: {runs[0].folder / FOLDER / 'predictions'}")


def _cell(estimate: Estimate | None) -> str:
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]" if estimate else "none"
