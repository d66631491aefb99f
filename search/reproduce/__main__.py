"""Run `python -m search.reproduce`: train recipes of the reports and compare their metrics with the printed ones."""

import sys
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from search import options
from search.report import page
from search.reproduce import comparison
from search.reproduce.printed_tables import OWN, PRINTED, UNSCORED, listing, show
from search.reproduce.results import finished
from search.reproduce.trainings import check_texts, check_trainings, chosen, trained_as, trainings_of
from search.runs.run import Run
from search.session.prepare import DEFAULTS, Prepared, prepare_run, settle
from search.session.session import Machines, Session, run_command, session
from search.tune.slots import Slots
from trainers.command_line import command
from trainers.folder import Folder

SETTINGS: dict[str, Any] = {**DEFAULTS, "recipes": list(PRINTED), "seeds": 1, "set": [], "scale": 1.0}
"""The settings of a reproduction with their defaults. A resumed run takes them from its `search.json`."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

EXAMPLE = "Example: python -m search.reproduce 'r002-concat*' --name first --rows 64 --scale 0.05"


@app.command(epilog=EXAMPLE)
def main(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE",
            help="Recipes to train: names, globs, or NAME/TASK for a group's member. Default: all with metrics.",
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the printed rows and all recipe names; train nothing.")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of seeds for each training, counted from --seed; default 1.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run's name; default: reproduce and the UTC time.")] = None,
    data: options.Data = None,
    rows: options.Rows = None,
    encoder: options.Encoder = None,
    concurrency: options.Concurrency = None,
    cpus_per_trial: options.Cpus = 1.0,
    gpus_per_trial: options.Gpus = None,
    address: options.Address = None,
    storage: options.Storage = "runs",
    seed: Annotated[int | None, typer.Option(min=0, help="First seed; default 0.")] = None,
    dev_rows: options.DevRows = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Set a config field of every recipe; may be repeated."),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(min=1e-6, help="Factor on the duration of every training; default 1.")
    ] = None,
    resume: options.Resume = False,
) -> None:
    """Train recipes of the reports and compare their metrics with the printed ones."""
    if listed:
        with command("search.reproduce"):
            _list(chosen(recipes or []))
        return
    with run_command("search.reproduce", storage, name, "reproduce") as location:
        asked = {"data": data, "rows": rows, "encoder": encoder, "seed": seed, "dev_rows": dev_rows}
        asked |= {"recipes": chosen(recipes or []) or None, "seeds": seeds, "set": values or None, "scale": scale}
        machines = Machines(address, concurrency, cpus_per_trial, gpus_per_trial)
        with session(machines, partial(prepare_reproduction, location, asked, resume)) as opened:
            _train(opened)
            _conclude(opened.run)


def prepare_reproduction(location: Folder, asked: Mapping[str, Any], resume: bool, slots: Slots) -> Prepared:
    """Check the settings, then create or reopen the run directory of a reproduction; see `prepare_run`."""
    settings = settle(location, asked, SETTINGS, resume=resume)
    trainings = trainings_of(settings["recipes"], settings["set"])
    same = trained_as(trainings)
    once = {name: config for name, config in trainings.items() if same[name] == name}
    if not resume:  # a resumed run has its own copy of the texts
        check_texts(once, settings["data"])
    seeds = range(settings["seed"], settings["seed"] + settings["seeds"])
    check = partial(check_trainings, once, encoder=settings["encoder"], seeds=seeds, scale=settings["scale"])
    return prepare_run(location, settings | {"trained_as": same}, once.values(), check, slots.count)


def _list(names: list[str]) -> None:
    """Print the rows of the reports, then the recipes without a printed row."""
    head, lines = listing(names)
    if lines:
        show(head, lines)
    for title, others in (("In the reports, without metrics:", UNSCORED), ("In no report:", OWN)):
        if asked := [name for name in others if not names or name in names]:
            print("", title, *asked, sep="\n")


def _train(session: Session) -> None:
    """Train every point of a reproduction's space."""
    search, points = session.run.search, session.prepared.checked.space.start
    print(
        f"Run {search['name']} at {session.run.folder}: {len(points)} trainings for {len(search['recipes'])} recipes, "
        f"with {search['seeds']} seed{'s' * (search['seeds'] > 1)} each, counted from {search['seed']}."
    )
    names = [f"{point['recipe']}, seed {point['seed']}" for point in points]
    session.train(len(points), names=dict(enumerate(names)))


def _conclude(run: Run) -> None:
    """Write the report and the comparison of a reproduction; print the comparison."""
    page.write(run)
    table = comparison.compare(run)
    show(*comparison.as_text(table))
    print(*comparison.notes(run), sep="\n")
    print(comparison.write(run, table))
    if not any(map(finished, run.trials())):
        print("No training finished. The notes above give the reasons.", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    app()
