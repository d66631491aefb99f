"""Run a search from its request to its report."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas

from model.errors import InputError
from search.ensemble import build
from search.launch.request import Request
from search.options import given
from search.report import page
from search.runs.objectives import check_objectives
from search.runs.search_record import RequestedSettings
from search.runs.study import checked_url
from search.session.prepare import Prepared, prepare_run, settle
from search.session.session import Session, run_command, session
from search.suggest.earlier_searches import Source, read_sources, shown
from search.suggest.samplers import check_sampler
from search.suggest.space import Checked, check_space, load_space, tried_configs
from search.suggest.warm_start import fitted
from search.tune.budgets import Limits
from search.tune.exploit_explore import POPULATION, check_population_size
from search.tune.slots import Slots
from trainers.data.corpus import Corpus
from trainers.devices import fastest_precision
from trainers.folder import Folder


def run_search(request: Request) -> None:
    """Train a search's trials, build the ensemble of the best ones, and write the report."""
    with run_command("search.launch", request.storage, request.name, request.space.stem) as location:
        limits = Limits(_seconds(request.time_budget), request.stop_at, request.plateau, request.gpu_hours)
        sources, study = request.settings["warm_start"] or [], request.settings["study"]
        asked = request.settings | {"study": checked_url(study), "warm_start": list(map(shown, sources)) or None}
        requested = RequestedSettings(**given(**asked))
        earlier = partial(read_sources, sources, request.storage)
        prepare = partial(
            prepare_search, location, request.space, requested, request.resume, earlier=earlier, trials=request.trials
        )
        with session(request.machines, prepare, limits=limits, study=study, dashboard=request.dashboard) as opened:
            search = opened.run.search
            print(
                f"Run {search.name} at {location}: up to {request.trials} trials of {search.rounds} rounds, "
                f"{request.space}."
            )
            if over := opened.train(request.trials):
                print(f"The search has ended: {over}.")
            _conclude(opened)


def prepare_search(
    location: Folder,
    path: Path,
    requested: RequestedSettings,
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
    settings = settle(location, requested, resume=resume)
    if not settings.precision:
        settings = settings.replace(precision=fastest_precision(slots.device))
    learn = partial(fitted, [] if resume else earlier())
    fixed = {"encoder": settings.encoder, "precision": settings.precision, "seed": settings.seed}
    space = replace(space, fixed=fixed)
    configs, objectives = tried_configs(space), settings.objective
    notes = check_sampler(settings.sampler, space, objectives)

    def check(corpus: Corpus) -> Checked:
        checked = check_space(space, configs, corpus)
        check_objectives(objectives, checked.tasks)
        return checked

    living = slots.count
    if settings.trial_scheduler == POPULATION:
        check_population_size(trials)
        living = max(trials, living)  # all of it
    prepared = prepare_run(location, settings, configs, check, living, learn=learn)
    return replace(prepared, notes=[*prepared.notes, *notes])


def _conclude(session: Session) -> None:
    """Build the ensemble of a search, and write its report."""
    from search.tune import ray_cluster  # here, because Ray reads its environment when it is imported

    fault = None
    try:
        build.build([session.run], starmap=ray_cluster.starmap(session.slots))
    except InputError as error:  # all trials failed, say, or a budget ended them before a task's first round
        fault = error
    print(page.write(session.run))
    if fault:
        print(f"No ensemble; the report says how the trials ended. {fault}", file=sys.stderr)
        raise SystemExit(1)


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
