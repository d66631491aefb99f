"""Train recipes in one run, and compare their metrics with the printed ones."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from model.errors import InputError
from search.options import given
from search.report import page
from search.reproduce import comparison
from search.reproduce.class_tables import HEAD, compare_classes
from search.reproduce.ensemble_files import write_ensembles
from search.reproduce.printed_tables import OWN, PRINTED, UNSCORED, listing, show
from search.reproduce.results import finished
from search.reproduce.trainings import check_texts, check_trainings, trained_as, trainings_of
from search.runs.run import Run
from search.runs.search_record import Reproduction, RequestedSettings
from search.session.conclusion import conclude
from search.session.machines import Machines
from search.session.prepare import Prepared, prepare_run, run_settings
from search.session.session import Session, run_command, session
from search.tune.slots import Slots
from trainers.folder import Folder


def run_reproduction(
    asked: Mapping[str, Any], machines: Machines, storage: str, name: str | None, resume: bool
) -> None:
    """Train the recipes of a reproduction, and compare their metrics with the printed ones."""
    fields = given(**asked)
    own = Reproduction(**{name: fields.pop(name) for name in Reproduction.model_fields if name in fields})
    requested = RequestedSettings(**fields, reproduction=own)
    with (
        run_command("search.reproduce", storage, name, "reproduce") as location,
        session(location, machines, partial(prepare_reproduction, location, requested, resume)) as opened,
    ):
        notes: list[str] = []
        conclude(
            opened.run,
            train=partial(_train, opened),
            results={
                "No report was written": partial(page.write, opened.run),
                "Not all predictions of ensembles were written": partial(_predict, opened, notes),
                "The comparison is incomplete": partial(print_comparison, opened.run, notes),
            },
        )


def prepare_reproduction(location: Folder, requested: RequestedSettings, resume: bool, slots: Slots) -> Prepared:
    """Check the settings, then create or reopen the run directory of a reproduction; see `prepare_run`."""
    settings = run_settings(location, requested, resume=resume)
    own = Run(location).reproduction if resume else settings.reproduction or Reproduction()
    recipes = own.recipes or tuple(PRINTED)
    trainings = trainings_of(recipes, list(own.set))
    same = trained_as(trainings)
    once = {name: config for name, config in trainings.items() if same[name] == name}
    if not resume:  # a resumed run has its own copy of the texts
        check_texts(once, settings.data)
    seeds = range(settings.seed, settings.seed + own.seeds)
    check = partial(check_trainings, once, encoder=settings.encoder, seeds=seeds, scale=own.scale)
    settings = settings.replace(reproduction=own.replace(recipes=recipes, trained_as=same))
    trials = len(once) * own.seeds
    return prepare_run(location, settings, once.values(), check, slots.count, trials)


def list_recipes(names: list[str]) -> None:
    """Print the rows of the reports, then the recipes without a printed row."""
    head, lines = listing(names)
    if lines:
        show(head, lines)
    for title, others in (("In the reports, without metrics:", UNSCORED), ("In no report:", OWN)):
        if asked := [name for name in others if not names or name in names]:
            print("", title, *asked, sep="\n")


def print_comparison(run: Run, further: Sequence[str]) -> None:
    """Write the comparison of a reproduction with the reports, and print it, with the notes about damaged files.

    Args:
        further: notes in addition to those of the comparison.

    Raises:
        InputError: no training has finished.
    """
    table, classes = comparison.compare(run), compare_classes(run)
    notes = [*comparison.notes(run, classes.notes), *further, *run.notes]
    show(*comparison.as_text(table))
    if classes.lines:
        show(HEAD, classes.lines)
    print(*notes, sep="\n")
    print(comparison.write(run, table, classes.lines, notes))
    if not any(map(finished, run.trials())):
        raise InputError("No training finished. The notes above give the reasons.")


def _train(session: Session) -> None:
    """Train every point of a reproduction's space."""
    run, points = session.run, session.prepared.checked.space.start
    recipes, seeds = run.reproduction.recipes, run.reproduction.seeds
    print(
        f"Run {run.search.name} at {run.folder}: {len(points)} trainings for {len(recipes)} recipes, "
        f"with {seeds} seed{'s' * (seeds > 1)} each, counted from {run.search.seed}."
    )
    names = [f"{point['recipe']}, seed {point['seed']}" for point in points]
    session.train(len(points), names=dict(enumerate(names)))


def _predict(session: Session, notes: list[str]) -> None:
    """Write the prediction files of a reproduction's ensembles; add a note about each to `notes`."""
    from search.tune import ray_cluster  # here, because Ray reads its environment when it is imported

    notes += write_ensembles(session.run, ray_cluster.starmap(session.slots))
