"""Build the ensemble of one or more runs: select the members, predict with them, write all files."""

from itertools import starmap

import rich
from rich.table import Table

from search.choices import DEFAULT_SOUP, DEFAULT_STRATEGY
from search.ensemble.choose import Chosen, choose
from search.ensemble.estimates import ESTIMATES_FILE, EnsembleEstimates, Estimate, write_estimates
from search.ensemble.members import FOLDER, MEMBERS_FILE, write_ensemble
from search.ensemble.predict import StarMap, predict_members
from search.ensemble.soup import write_soup
from search.runs.run import Run


def build(
    runs: list[Run], strategy: str = DEFAULT_STRATEGY, soup: str = DEFAULT_SOUP, starmap: StarMap = starmap
) -> None:
    """Select the first run's ensemble, predict with it, and print its estimates.

    Args:
        starmap: calls a function for each model, here or on other machines.

    Raises:
        InputError: the strategy or the soup is unknown, or there is nothing to choose from.
    """
    chosen = choose(runs, strategy, runs[0].search.seed, soup=soup, starmap=starmap)
    for note in chosen.notes:
        print(note)
    rich.print(table(chosen.estimates))
    _delete_earlier(runs[0])
    write_soup(runs[0], chosen.soup)
    metrics = predict_members(runs[0], chosen.ensemble, starmap)
    write(runs[0], chosen)  # after the predictions: if members.json exists, the predictions exist too
    print("Ensemble on all labelled dev rows: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(f"Predictions: {runs[0].folder / FOLDER / 'predictions'}")


def write(run: Run, chosen: Chosen) -> None:
    """Write `ensemble/metrics.json` and then `ensemble/members.json`."""
    write_estimates(run, chosen.estimates)
    write_ensemble(run, chosen.ensemble)


def table(estimates: EnsembleEstimates) -> Table:
    """Return a table of the estimates of the ensemble beside those of the best single model."""
    shown = Table(
        "task", *(f"{model}, {rows}" for rows in ("dev", "cross-fitted") for model in ("best single", "ensemble"))
    )
    shown.caption = (
        "Best single: the round with the best metric of the task; in the last line, the round with the best score. "
        "Cross-fitted: measured on rows that took no part in the selection. In brackets: 95 % intervals."
    )
    for name, found in estimates.tasks_and_score.items():
        single = found.best_single
        dev = [_cell(single.dev if single else None), _cell(found.dev)]
        shown.add_row(name, *dev, _cell(single.cross_fitted if single else None), _cell(found.cross_fitted))
    return shown


def _delete_earlier(run: Run) -> None:
    """Delete the files of an earlier ensemble, whose soup and predictions will be overwritten."""
    for name in (MEMBERS_FILE, ESTIMATES_FILE):
        (run.folder / FOLDER).delete(name)


def _cell(estimate: Estimate | None) -> str:
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]" if estimate else "none"
