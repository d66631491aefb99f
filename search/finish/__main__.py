"""Run `python -m search.finish`: train the best configs of a search on all rows, and build an ensemble of them."""

if __name__ == "__main__":  # first: the imports below take a second
    from search.start import leave_quietly

    leave_quietly()

from typing import Annotated

import typer

from search import options
from search.options import HOW_MUCH, OUTPUT, WHAT
from search.session.machines import Machines
from search.start import started

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

EXAMPLE = "Example: python -m search.finish first --top 3"


@app.command(cls=options.Command, epilog=EXAMPLE)
def main(
    run: options.Run,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            rich_help_panel=WHAT,
            help="Train the configs of the K best trials of RUN; the default is 3.",
        ),
    ] = None,
    rows: options.Rows = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=HOW_MUCH,
            help="Train each config N times, with the seeds from RUN's seed on; the default is 1.",
        ),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            rich_help_panel=HOW_MUCH,
            help="Choose the passes over the rows such that all trainings take about a duration such as 2h, 90m or "
            "1h30m. By default each config trains as many passes as in RUN, which is also the most.",
        ),
    ] = None,
    dev_rows: options.DevRows = None,
    concurrency: options.Concurrency = None,
    cpus_per_trial: options.Cpus = 1.0,
    gpus_per_trial: options.Gpus = None,
    address: options.Address = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=OUTPUT,
            help="The name of the new run; by default the name of RUN with -finish at its end.",
        ),
    ] = None,
    storage: options.Storage = "runs",
    keep: options.Keep = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            rich_help_panel=OUTPUT,
            help="Continue the new run after an interruption. RUN is not read again.",
        ),
    ] = False,
) -> None:
    """Train the best configs of RUN to their end, by default on all rows, and build an ensemble of them."""
    with started("search.finish"):
        from trainers.start import LOADING, announce  # here, because `started` checks the packages first

        announce(LOADING)
        from search.finish.request import Request, new_name  # here, because it imports pyarrow
        from search.finish.run_finish import run_finish  # here, because it imports torch, Ray and Optuna

        request = Request(
            run,
            storage,
            name or new_name(run),
            top=top,
            seeds=seeds,
            time_budget=time_budget,
            settings={"rows": rows, "dev_rows": dev_rows, "keep": keep},
            machines=Machines(address, concurrency, cpus_per_trial, gpus_per_trial),
            resume=resume,
        )
    run_finish(request)


if __name__ == "__main__":
    app()
