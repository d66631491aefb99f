"""Build the ensemble of one or more runs: select the members, predict with them, write all files."""

from dataclasses import replace
from itertools import starmap

import rich
from rich.table import Table

from search.choices import DEFAULT_SOUP, DEFAULT_STRATEGY
from search.ensemble.choose import Chosen, choose
from search.ensemble.estimates import EnsembleEstimates, Estimate, write_estimates
from search.ensemble.members import FOLDER, SOUP, write_ensemble
from search.ensemble.predict import DamagedRounds, StarMap, check_rounds, predict_members, tasks_of_models
from search.ensemble.repaired_predictions import repair_predictions
from search.ensemble.soup import write_soup
from search.runs.run import Run
from search.selection.candidates import Candidate
from trainers.folder import Folder


def build(
    runs: list[Run],
    strategy: str = DEFAULT_STRATEGY,
    soup: str = DEFAULT_SOUP,
    starmap: StarMap = starmap,
    out: Folder | None = None,
) -> None:
    """Select the first run's ensemble, predict with it, and print its estimates and what was left out.

    The new ensemble replaces an earlier one when it is complete.

    Args:
        starmap: calls a function for each model, here or on other machines.
        out: the folder for the ensemble's folder; None for the first run's, which may then be changed.

    Raises:
        InputError: the strategy or the soup is unknown, or there is nothing to choose from.
    """
    if out is None:
        repair_predictions(runs[0], starmap)
    chosen = choose_undamaged(runs, strategy, soup, starmap)
    print(*dict.fromkeys([note for run in runs for note in run.notes] + chosen.notes), sep="\n")
    rich.print(table(chosen.estimates))
    if gain := chosen.estimates.score.gain:
        print(gain_sentence(gain))
    home = out or runs[0].folder
    with home.replacing(FOLDER) as folder:
        if chosen.soup:
            write_soup(runs[0], chosen.soup, folder / SOUP)
        metrics = predict_members(runs[0], chosen.ensemble, starmap, folder)
        write(runs[0], chosen, folder)
    print("Ensemble on all labelled dev rows: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(f"Predictions: {home / FOLDER / 'predictions'}")


def choose_undamaged(runs: list[Run], strategy: str, soup: str, starmap: StarMap) -> Chosen:
    """Select an ensemble whose members can all be loaded: while a damaged round is chosen, choose without it."""
    damaged: dict[Candidate, str] = {}
    while True:
        try:
            chosen = choose(runs, strategy, runs[0].search.seed, soup=soup, starmap=starmap, without=damaged)
            models = tasks_of_models(chosen.ensemble)
            check_rounds(Candidate(*model) for model in models if model[1] is not None)
        except DamagedRounds as found:
            damaged |= found.rounds
        else:
            left_out = [f"{name}: skipped. {fault}." for name, fault in damaged.items()]
            return replace(chosen, notes=chosen.notes + left_out)


def write(run: Run, chosen: Chosen, folder: Folder | None = None) -> None:
    """Write `metrics.json` and `members.json` of an ensemble; by default into the run's `ensemble/`."""
    folder = folder or run.folder / FOLDER
    write_estimates(folder, chosen.estimates)
    write_ensemble(run, chosen.ensemble, folder)


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


def gain_sentence(gain: Estimate) -> str:
    """Say by how much the ensemble's score exceeds that of the best single model, and whether that may be chance."""
    sentence = f"Gain of the ensemble's score over the best single model, cross-fitted: {gain.value:+.4f}"
    by_chance = gain.value and gain.low <= 0 <= gain.high
    doubt = " The interval contains 0: the difference may be due to chance." if by_chance else ""
    return f"{sentence} [{gain.low:+.4f}, {gain.high:+.4f}].{doubt}"


def _cell(estimate: Estimate | None) -> str:
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]" if estimate else "none"
