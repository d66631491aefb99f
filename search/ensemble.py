"""One run or several -> an ensemble: chosen, its members' predictions made, and all of it written."""

from itertools import starmap
from typing import Annotated, Any

import rich
import typer
from rich.table import Table

from search import options
from search.choice import DEFAULT, Chosen, choose
from search.lock import locked
from search.members import FILE, FOLDER, write_ensemble
from search.objectives import SCORE
from search.predict import Each, predict_members
from search.runs import Run
from search.selection import STRATEGIES
from search.soup import SOUPS, write_soup
from trainers.command import command

METRICS = "metrics.json"
NO_SOUP = "none"
"""The default: a greedy soup takes tens of passes over the dev rows, and among 72 trials it gained nothing."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


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


@app.command(epilog="Example: python -m search.ensemble first --strategy greedy")
def main(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names under --storage, paths or URIs.")],
    strategy: Annotated[str, typer.Option(help=f"How members are chosen: {', '.join(STRATEGIES)}.")] = DEFAULT,
    soup: Annotated[
        str, typer.Option(help=f"How rounds of RUN are averaged into one more candidate: {', '.join(SOUPS)}.")
    ] = NO_SOUP,
    storage: options.Storage = "runs",
) -> None:
    """Choose the members of the first RUN's ensemble again, from the trials of all RUNs; nothing is trained."""
    with command("search.ensemble"):
        opened = [Run.open(name, storage) for name in runs]
        with locked(opened[0].folder):
            build(opened, strategy, soup)


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


if __name__ == "__main__":
    app()
