"""Run `python -m search.reproduce`: train recipes of the reports and compare their metrics with the printed ones."""

if __name__ == "__main__":  # first: the imports below take a second
    from search.start import leave_quietly

    leave_quietly()

from typing import Annotated

import typer

from search import options
from search.options import HOW_MUCH, METHOD, OUTPUT, WHAT
from search.session.machines import Machines
from search.start import started

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

EXAMPLE = "Example: python -m search.reproduce 'r002-concat*' --name first --rows 64 --scale 0.05"


@app.command(cls=options.Command, epilog=EXAMPLE)
def main(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE",
            help="The recipes to train: names, NAME/TASK for one training of a group, or patterns such as 'r002-*'. "
            "By default all recipes with printed metrics.",
        ),
    ] = None,
    listed: Annotated[
        bool,
        typer.Option(
            "--list",
            rich_help_panel=WHAT,
            help="List the printed rows of the reports and the names of all recipes; train nothing.",
        ),
    ] = False,
    data: options.Data = None,
    rows: options.Rows = None,
    encoder: options.Encoder = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=HOW_MUCH,
            help="Train each recipe N times, with the seeds from --seed on; the default is 1.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            metavar="FACTOR",
            rich_help_panel=HOW_MUCH,
            help="Multiply the duration of every stage by a factor; the default is 1.",
        ),
    ] = None,
    dev_rows: options.DevRows = None,
    concurrency: options.Concurrency = None,
    cpus_per_trial: options.Cpus = 1.0,
    gpus_per_trial: options.Gpus = None,
    address: options.Address = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            rich_help_panel=METHOD,
            help="Change a field of every recipe. May be repeated.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", rich_help_panel=METHOD, help="The first seed; the default is 0."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=OUTPUT,
            help="The name of the run; by default reproduce and the time (UTC).",
        ),
    ] = None,
    storage: options.Storage = "runs",
    keep: options.Keep = None,
    resume: options.Resume = False,
) -> None:
    """Train recipes of the reports and compare their metrics with the printed ones."""
    with started("search.reproduce"):
        from trainers.start import LOADING, announce  # here, because `started` checks the packages first

        if not listed:  # a pipe gets the list alone
            announce(LOADING)
        from search.reproduce import run_reproduction  # here, because it imports torch and Optuna
        from search.reproduce.trainings import chosen  # here, because it imports torch

        names = chosen(recipes or [])
        if listed:
            run_reproduction.list_recipes(names)
            return
    asked = {"data": data, "rows": rows, "encoder": encoder, "seed": seed, "dev_rows": dev_rows, "keep": keep}
    asked |= {"recipes": names or None, "seeds": seeds, "set": values or None, "scale": scale}
    machines = Machines(address, concurrency, cpus_per_trial, gpus_per_trial)
    run_reproduction.run_reproduction(asked, machines, storage, name, resume)


if __name__ == "__main__":
    app()
