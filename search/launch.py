"""The command line of a search: space and data -> trials -> ensemble -> report."""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import pandas
import typer

from model.errors import InputError, unknown
from search import options
from search.ensemble import build
from search.report import page
from search.runs.objectives import OBJECTIVES, check_objectives
from search.runs.study import checked_url
from search.session.prepare import DEFAULTS, Prepared, prepare_run, settle
from search.session.session import Machines, Session, run_command, session
from search.suggest.earlier_searches import Source, read_sources, shown
from search.suggest.samplers import SAMPLERS, check_sampler
from search.suggest.space import Checked, check_space, load_space, tried_configs
from search.suggest.warm_start import fitted
from search.tune.budgets import Limits
from search.tune.exploit_explore import POPULATION, check_population_size
from search.tune.halving import BRACKETS
from search.tune.slots import Slots
from trainers.data.corpus import Corpus
from trainers.devices import Precision, fastest_precision
from trainers.folder import Folder

PRECISIONS = get_args(Precision)
TRIAL_SCHEDULERS = (*BRACKETS, POPULATION, "none")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

EXAMPLE = "Example: python -m search.launch spaces/smart.py --name first --trials 12"


@app.command(epilog=EXAMPLE)
def main(
    space: Annotated[Path, typer.Argument(help="A file that defines suggest(trial) -> TrainConfig.")],
    name: Annotated[str | None, typer.Option(help="The run's name; by default the space's and the UTC time.")] = None,
    data: options.Data = None,
    rows: options.Rows = None,
    encoder: options.Encoder = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Trials in all, those of earlier sessions included; or a population's size.")
    ] = 12,
    time_budget: Annotated[str | None, typer.Option(help="Of this session, such as 2h or 90m.")] = None,
    stop_at: Annotated[float | None, typer.Option(min=0, max=1, help="Enough: a round's score.")] = None,
    plateau: Annotated[int | None, typer.Option(min=1, help="Enough: so many trials in a row, none better.")] = None,
    gpu_hours: Annotated[float | None, typer.Option(min=1e-6, help="Of all sessions together.")] = None,
    concurrency: options.Concurrency = None,
    cpus_per_trial: options.Cpus = 1.0,
    gpus_per_trial: options.Gpus = None,
    address: options.Address = None,
    storage: options.Storage = "runs",
    study: Annotated[str | None, typer.Option(help="An Optuna storage URL; default a journal in the run.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the search and of every trial; default 0.")] = None,
    dev_rows: options.DevRows = None,
    precision: Annotated[
        str | None, typer.Option(help=f"{', '.join(PRECISIONS)}; default the faster one on this machine.")
    ] = None,
    sampler: Annotated[str | None, typer.Option(help=f"Who suggests: {', '.join(SAMPLERS)}; default tpe.")] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(OBJECTIVES)} or a task's metric; may be repeated; default score."),
    ] = None,
    trial_scheduler: Annotated[
        str | None, typer.Option(help=f"Who stops trials early: {', '.join(TRIAL_SCHEDULERS)}; default asha.")
    ] = None,
    warm_start: Annotated[list[str] | None, typer.Option(metavar="RUN_OR_STUDY", help="Learn from its trials.")] = None,
    resume: options.Resume = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Serve the live views beside the search.")] = False,
) -> None:
    """Search a space, build an ensemble of the best trials, and write a report."""
    with run_command("search.launch", storage, name, space.stem) as location:
        limits = Limits(_seconds(time_budget), stop_at, plateau, gpu_hours)
        asked = {"data": data, "rows": rows, "encoder": encoder, "seed": seed, "dev_rows": dev_rows}
        asked |= {"study": checked_url(study), "warm_start": [shown(source) for source in warm_start or []] or None}
        asked |= {"sampler": _known("sampler", sampler, SAMPLERS), "objective": objective or None}
        asked["precision"] = _known("precision", precision, PRECISIONS)
        asked["trial_scheduler"] = _known("trial scheduler", trial_scheduler, TRIAL_SCHEDULERS)
        machines = Machines(address, concurrency, cpus_per_trial, gpus_per_trial)
        earlier = partial(read_sources, warm_start or [], storage)
        prepare = partial(prepare_search, location, space, asked, resume, earlier=earlier, trials=trials)
        with session(machines, prepare, limits=limits, study=study, dashboard=dashboard) as opened:
            search = opened.run.search
            print(f"Run {search['name']} at {location}: up to {trials} trials of {search['rounds']} rounds, {space}.")
            if over := opened.train(trials):
                print(f"The search has ended: {over}.")
            _conclude(opened)


def prepare_search(
    location: Folder,
    path: Path,
    asked: Mapping[str, Any],
    resume: bool,
    slots: Slots,
    *,
    earlier: Callable[[], list[Source]] = list,
    trials: int = 1,
) -> Prepared:
    """Check all that was asked, then write the run directory of a search, or find it; see `prepare_run`.

    Args:
        earlier: () -> what it learns from; a resumed one has its own copy.
        trials: a population's size.
    """
    space = load_space(path)
    settings = settle(location, asked, DEFAULTS | {"precision": fastest_precision(slots.device)}, resume=resume)
    learn = partial(fitted, [] if resume else earlier())
    space = replace(space, fixed={name: settings[name] for name in ("encoder", "precision", "seed")})
    configs, objectives = tried_configs(space), settings["objective"]
    notes = check_sampler(settings["sampler"], space, objectives)

    def check(corpus: Corpus) -> Checked:
        checked = check_space(space, configs, corpus)
        check_objectives(objectives, checked.tasks)
        return checked

    living = slots.count
    if settings["trial_scheduler"] == POPULATION:
        check_population_size(trials)
        living = max(trials, living)  # all of it
    prepared = prepare_run(location, settings, configs, check, living, learn=learn)
    return replace(prepared, notes=[*prepared.notes, *notes])


def _conclude(session: Session) -> None:
    """Build the ensemble of a search, and write its report."""
    from search.tune import ray_cluster  # here, because Ray reads its environment when it is imported

    fault = None
    try:
        build.build([session.run], each=ray_cluster.starmap(session.slots))
    except InputError as error:  # all trials failed, say, or a budget ended them before a task's first round
        fault = error
    print(page.write(session.run))
    if fault:
        print(f"No ensemble; the report says how the trials ended. {fault}", file=sys.stderr)
        raise SystemExit(1)


def _known(what: str, name: str | None, known: Collection[str]) -> str | None:
    """Return a name that is among the known ones, or None."""
    if name is not None and name not in known:
        raise unknown(what, name, known)
    return name


def _seconds(text: str | None) -> float | None:
    """Read a duration."""
    if text is None:
        return None
    try:
        seconds = pandas.Timedelta(text).total_seconds()
    except ValueError:
        seconds = 0.0
    if not seconds >= 1:  # also what is not a number; without a unit it would be nanoseconds
        raise InputError(f"--time-budget {text!r} is not a duration. Write it with a unit, such as 2h, 90m or 1h30m.")
    return seconds


if __name__ == "__main__":
    app()
