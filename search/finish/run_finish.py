"""Train the best configs of a searched run in a new run, build the ensemble, and write the report."""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

from model.errors import InputError
from search.finish.best_configs import BestConfigs, best_configs, recorded_configs
from search.finish.length import Length, check_budget, measured_length
from search.finish.request import SEEDS, TOP, Request
from search.finish.trainings import check_trainings, training_names
from search.options import given
from search.report import page
from search.runs.run import Run, readable_run
from search.runs.search_record import RequestedSettings
from search.session.conclusion import build_ensemble, conclude
from search.session.prepare import Prepared, prepare_run, run_exists, run_settings
from search.session.session import Session, run_command, session
from search.suggest.space import CheckedSpace
from search.tune.budgets import budget_seconds
from search.tune.slots import Slots
from trainers.data.corpus import Corpus
from trainers.data.prepare import SOURCES
from trainers.folder import Folder


def run_finish(request: Request) -> None:
    """Train the best configs of a run, build an ensemble of them, and write the report."""
    with run_command("search.finish", request.storage, request.name, request.name) as location:
        seconds = budget_seconds(request.time_budget)
        requested, best = _chosen(location, request)
        address = request.machines.address
        check_budget(best.configs, seconds, address)
        measured = partial(measured_length, best.configs, len(best.trainings), seconds=seconds, address=address)
        prepare = partial(prepare_finish, location, requested, best, measured, request.resume)
        with session(location, request.machines, prepare) as opened:
            conclude(
                opened.run,
                train=partial(_train, opened, best),
                results={
                    "No ensemble was built": partial(build_ensemble, opened),
                    "No report was written": lambda: print(page.write(opened.run)),
                },
            )


def prepare_finish(
    location: Folder,
    requested: RequestedSettings,
    best: BestConfigs,
    measured: Callable[[Corpus, Slots], Length],
    resume: bool,
    slots: Slots,
) -> Prepared:
    """Check the settings, then create or reopen the run directory; see `prepare_run`.

    Args:
        best: the configs of the searched run; of an existing run, those that it trains.
        measured: returns the length of the trainings; not called for an existing run, which has recorded its configs.
    """
    exists = run_exists(location)
    begun = exists and bool(Run(location).trials())  # a run without a trial is what a failed start leaves behind
    settings = run_settings(location, requested, resume=resume or (exists and not begun))
    notes: list[str] = []

    def check(corpus: Corpus) -> CheckedSpace:
        checked = check_trainings(best, corpus)  # before the measurement, whose errors name neither run nor trial
        if exists:
            recorded = Length(best.configs, len(best.trainings), slots, None, None)
            notes.append(recorded.line(corpus, recorded=True))
            return checked
        length = measured(corpus, slots)
        notes.append(length.line(corpus))
        return check_trainings(best.replace(configs=length.chosen), corpus)

    prepared = prepare_run(location, settings, best.configs.values(), check, slots.count, len(best.trainings))
    return replace(prepared, notes=[*prepared.notes, *notes])


def _chosen(location: Folder, request: Request) -> tuple[RequestedSettings, BestConfigs]:
    """Return the requested settings and the best configs: of the run at `location`, else of the searched run."""
    options = given(**request.settings)
    if run_exists(location):
        best = recorded_configs(Run(location))
        _check_same(request, best)
        return RequestedSettings(**options), best
    with readable_run("Make the run readable, or pass another one."):
        source = Run.open(request.run, request.storage)
        best = best_configs(source, request.top or TOP, request.seeds or SEEDS)
        for note in source.notes:
            print(note)
        search = source.search
    if search.data not in SOURCES and not Path(search.data).is_dir():
        raise InputError(
            f"Run {best.run!r} was searched on --data {search.data}, and there is no such directory. Start the command "
            "in the folder in which the search was started, or restore the data."
        )
    same = {"data": search.data, "encoder": search.encoder, "precision": search.precision, "seed": search.seed}
    return RequestedSettings(**same, trial_scheduler="none", **options), best


def _check_same(request: Request, best: BestConfigs) -> None:
    """Check that the arguments and options that were given are those of an existing run.

    Raises:
        InputError: the run trains configs of another run, or another number of configs or seeds.
    """
    source = Folder.at(request.run).name
    if source != best.run:
        raise InputError(
            f"Run {request.name!r} trains configs of run {best.run!r}, not of {source!r}. Pass another --name."
        )
    for option, asked, made_with in (("--top", request.top, best.top), ("--seeds", request.seeds, best.seeds)):
        if asked not in (None, made_with):
            raise InputError(
                f"Run {request.name!r} was made with {option} {made_with}, not with {option} {asked}. Leave {option} "
                "out to resume, or start a run under another --name."
            )


def _train(session: Session, best: BestConfigs) -> None:
    """Train every config of a run under every seed."""
    search, trials = session.run.search, _listed("trial", best.configs)
    seeds = _listed("seed", range(best.seed, best.seed + best.seeds))
    print(f"Run {search.name} at {session.run.folder}: the best configs of run {best.run} ({trials}), with {seeds}.")
    session.train(len(best.trainings), names=training_names(best))


def _listed(noun: str, numbers: Collection[int]) -> str:
    return f"{noun}{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
