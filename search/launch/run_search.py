"""Run a search: prepare its run, train its trials, build the ensemble and write the report."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from search.launch.request import TRIALS, Request
from search.options import given
from search.report import page
from search.runs.objectives import check_objectives
from search.runs.run import Run
from search.runs.search_record import RequestedSettings
from search.runs.study import checked_url
from search.session.conclusion import build_ensemble, conclude
from search.session.prepare import Prepared, prepare_run, run_exists, run_settings
from search.session.session import Session, run_command, session
from search.session.trial_length import WHOLE_TRIALS, fit_to_budget
from search.suggest.earlier_searches import EarlierSearch, read_earlier_searches, shown_source
from search.suggest.samplers import check_sampler
from search.suggest.space import CheckedSpace, Space, check_space, example_configs, load_space, with_passes
from search.suggest.warm_start import warm_start_from
from search.tune.budgets import Limits, budget_seconds
from search.tune.exploit_explore import POPULATION, check_population_size
from search.tune.slots import Slots
from trainers.data.corpus import Corpus
from trainers.devices import fastest_precision
from trainers.folder import Folder


def run_search(request: Request) -> None:
    """Train the trials of a search, build an ensemble of the best ones, and write the report."""
    with run_command("search.launch", request.storage, request.name, request.space.stem) as location:
        limits = Limits(budget_seconds(request.time_budget), request.stop_at, request.plateau, request.gpu_hours)
        sources, study = request.settings["warm_start"] or [], request.settings["study"]
        asked = request.settings | {
            "study": checked_url(study),
            "warm_start": list(map(shown_source, sources)) or None,
        }
        requested = RequestedSettings(**given(**asked))
        earlier = partial(read_earlier_searches, sources, request.storage)
        trials = trial_limit(request, location)
        prepare = partial(
            prepare_search,
            location,
            request.space,
            requested,
            request.resume,
            earlier=earlier,
            trials=trials,
            seconds=None if request.machines.address else limits.seconds,
        )
        with session(
            location, request.machines, prepare, limits=limits, study=study, dashboard=request.dashboard
        ) as opened:
            search = opened.run.search
            limit = f"up to {trials} trials" if trials else "as many trials as fit"
            print(f"Run {search.name} at {location}: {limit}, each of {search.rounds} rounds, {request.space}.")
            conclude(
                opened.run,
                train=partial(_train, opened, trials),
                results={
                    "No ensemble was built": partial(build_ensemble, opened),
                    "No report was written": lambda: print(page.write(opened.run)),
                },
            )


def prepare_search(
    location: Folder,
    path: Path,
    requested: RequestedSettings,
    resume: bool,
    slots: Slots,
    *,
    earlier: Callable[[], list[EarlierSearch]] = list,
    trials: int | None = None,
    seconds: float | None = None,
) -> Prepared:
    """Check the settings of a search, then create its run directory or reopen it; see `prepare_run`.

    Args:
        location: the run directory.
        path: the file of the search space.
        requested: the settings from the command line.
        earlier: reads the sources of a warm start; not called for a resumed run, which has a copy of their trials.
        trials: the largest number of trials, None for no limit; with --trial-scheduler population, of its members.
        seconds: the time budget for which a new run chooses how long its trials train, if the space lets it.
    """
    space = load_space(path)
    settings = run_settings(location, requested, resume=resume)
    if not settings.precision:
        settings = settings.replace(precision=fastest_precision(slots.device))
    warm_start = partial(warm_start_from, [] if resume else earlier())
    exists = run_exists(location)
    space = _with_settings(space, settings, Run(location).search.passes if exists else None)
    configs, objectives = example_configs(space), settings.objective
    notes = check_sampler(settings.sampler, space, objectives)

    members = trials if trials and settings.trial_scheduler == POPULATION else 0
    if members:
        check_population_size(members)
    if space.passes:
        notes.append(
            f"Each trial trains {space.passes:g} passes over the rows, as the run's first time budget decided."
        )

    def check(corpus: Corpus) -> CheckedSpace:
        checked = check_space(space, configs, corpus)
        check_objectives(objectives, checked.tasks)
        if not seconds or not space.pass_range or exists:
            return checked
        fitted, note = fit_to_budget(space, configs[0], corpus, seconds, slots, members or WHOLE_TRIALS)
        notes.append(note)
        return check_space(fitted, [with_passes(config, fitted.passes) for config in configs], corpus)

    unfinished = max(members, slots.count)  # members that wait for a slot keep their full states, too
    prepared = prepare_run(location, settings, configs, check, unfinished, trials, warm_start=warm_start)
    return replace(prepared, notes=[*prepared.notes, *notes])


def _with_settings(space: Space, settings: RequestedSettings, passes: float | None) -> Space:
    """Return a space whose configs have the run's settings and, unless None, its passes."""
    fixed = {"encoder": settings.encoder, "precision": settings.precision, "seed": settings.seed}
    return replace(space, fixed=fixed, passes=passes)


def trial_limit(request: Request, location: Folder) -> int | None:
    """Return the requested number of trials, or the default: none with a time budget, except for a population."""
    if request.trials:
        return request.trials
    recorded = Run(location).search.trial_scheduler if run_exists(location) else None
    population = (request.settings["trial_scheduler"] or recorded) == POPULATION
    return None if request.time_budget and not population else TRIALS


def _train(session: Session, trials: int | None) -> None:
    """Train the trials of a search."""
    if over := session.train(trials):
        print(f"The search has ended: {over}.")
