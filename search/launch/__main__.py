"""Run `python -m search.launch`: search a space, build an ensemble of the best trials, and write a report."""

if __name__ == "__main__":  # first: the imports below take a second
    from search.start import leave_quietly

    leave_quietly()

from typing import Annotated

import typer

from search import options
from search.choices import OBJECTIVES, PRECISIONS, SAMPLERS, TRIAL_SCHEDULERS, listed
from search.options import HOW_MUCH, METHOD, OUTPUT, WHAT, Command
from search.session.machines import Machines
from search.start import started

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

EXAMPLE = "Example: python -m search.launch smart --name first --trials 12"


@app.command(cls=Command, epilog=EXAMPLE)
def main(
    space: Annotated[
        str,
        typer.Argument(
            metavar="SPACE",
            help="The search space: a name such as smart, or the path of a file that defines "
            "suggest(trial) and returns a TrainConfig.",
        ),
    ],
    data: options.Data = None,
    rows: options.Rows = None,
    encoder: options.Encoder = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=WHAT,
            help=f"What to optimise: {listed(OBJECTIVES)}, or a task's name for its metric. Repeat the option for a "
            "search with several objectives; the default is score, the mean over the tasks.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=HOW_MUCH,
            help="Stop after N trials, trials of earlier sessions included; with --trial-scheduler population, the "
            "number of its members. The default is 12; with --time-budget, no limit, except for a population.",
        ),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            rich_help_panel=HOW_MUCH,
            help="Stop this session after a duration such as 2h, 90m or 1h30m. If the space defines PASSES, "
            "the duration decides how long each trial of a new run trains.",
        ),
    ] = None,
    gpu_hours: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            metavar="N",
            rich_help_panel=HOW_MUCH,
            help="Stop after N GPU-hours, those of earlier sessions included.",
        ),
    ] = None,
    stop_at: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SCORE",
            rich_help_panel=HOW_MUCH,
            help="Stop as soon as a round reaches this score, 0 to 1.",
        ),
    ] = None,
    plateau: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=HOW_MUCH,
            help="Stop after N trials in a row without a better score.",
        ),
    ] = None,
    dev_rows: options.DevRows = None,
    concurrency: options.Concurrency = None,
    cpus_per_trial: options.Cpus = 1.0,
    gpus_per_trial: options.Gpus = None,
    address: options.Address = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=METHOD,
            help=f"The Optuna sampler, which suggests parameters: {listed(SAMPLERS)}; the default is tpe.",
        ),
    ] = None,
    trial_scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=METHOD,
            help="The trial scheduler, which stops weak trials early or, as population, replaces them: "
            f"{listed(TRIAL_SCHEDULERS)}; the default is asha.",
        ),
    ] = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN|URL",
            rich_help_panel=METHOD,
            callback=options.from_environment,
            help="Show the sampler the trials of an earlier run, or of the Optuna study at a URL or env:NAME. May be "
            "repeated.",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=METHOD,
            help=f"The numbers of matrix products: {listed(PRECISIONS)}; by default the faster one on this machine.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            rich_help_panel=METHOD,
            help="The seed of the sampler and of every trial; the default is 0.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=OUTPUT,
            help="The name of the run; by default the name of the space and the time (UTC).",
        ),
    ] = None,
    storage: options.Storage = "runs",
    study: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            rich_help_panel=OUTPUT,
            callback=options.from_environment,
            help="Keep the Optuna study in the database at this URL, or at the one in the environment variable NAME: "
            "env:NAME. By default it is kept in a journal file of the run.",
        ),
    ] = None,
    keep: options.Keep = None,
    resume: options.Resume = False,
    dashboard: Annotated[
        bool,
        typer.Option(
            "--dashboard",
            rich_help_panel=OUTPUT,
            help="Serve live views of the search on this machine while it runs: optuna-dashboard and Ray's dashboard.",
        ),
    ] = False,
) -> None:
    """Search a space, build an ensemble of the best trials, and write a report."""
    with started("search.launch"):
        from search.launch.request import Request, checked_name  # here, because `started` checks the packages first
        from search.launch.space_file import space_file  # here, because `started` checks the packages first
        from trainers.start import LOADING, announce  # here, because `started` checks the packages first

        request = Request(
            space_file(space),
            storage,
            name,
            settings={
                "data": data,
                "rows": rows,
                "encoder": encoder,
                "objective": objective or None,
                "dev_rows": dev_rows,
                "sampler": checked_name("sampler", sampler, SAMPLERS),
                "trial_scheduler": checked_name("trial scheduler", trial_scheduler, TRIAL_SCHEDULERS),
                "warm_start": warm_start or None,
                "precision": checked_name("precision", precision, PRECISIONS),
                "seed": seed,
                "study": study,
                "keep": keep,
            },
            machines=Machines(address, concurrency, cpus_per_trial, gpus_per_trial),
            trials=trials,
            time_budget=time_budget,
            stop_at=stop_at,
            plateau=plateau,
            gpu_hours=gpu_hours,
            resume=resume,
            dashboard=dashboard,
        )
        announce(LOADING)
        from search.launch.run_search import run_search  # here, because it imports torch, Ray and Optuna
    run_search(request)


if __name__ == "__main__":
    app()
