"""The Optuna study of a run: opened, mended, and filled with the points to try first."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from model.errors import InputError, first_line
from search.runs.objectives import directions
from search.runs.rebuilt_study import rebuild_study
from search.runs.run import HIDDEN, STUDY, Run
from trainers.folder import cut_unfinished_line

STARTED = "started"
"""Tells a run's study from another of the same name."""


def checked_url(url: str | None) -> str | None:
    """Open an Optuna storage once; return its URL as it may be written down, without a password.

    Raises:
        InputError: it cannot be opened.
    """
    if url is None:
        return None
    try:
        shown = make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise InputError(f"--study {url!r} is no URL. Write it like sqlite:///study.db.") from None
    try:
        optuna.storages.get_storage(url)
    except Exception as error:  # each database driver raises errors of its own
        fault = first_line(error)
        raise InputError(f"--study {shown}: {fault}. Give an Optuna storage URL that can be written.") from error
    return shown


def url_of(run: Run, given: str | None) -> str | None:
    """Return the URL of a run's study: the one given now, or the one it was made with.

    Raises:
        InputError: it was made with one whose password was not written down, and none is given.
    """
    url = given or run.search.study
    if url and HIDDEN in url:
        raise InputError(f"Run {run.folder.name!r} has its study at {url}. Pass --study again, with the password.")
    return url


@contextmanager
def opened_study(run: Run, url: str | None) -> Iterator[optuna.Study]:
    """Open the run's study for writing, under the run's lock; what it has lost is rebuilt from the trials' files.

    Args:
        url: an Optuna storage URL; None for a journal file, in the run directory or, where that is an object store,
            which cannot append, on this machine as long as the search lasts.

    Raises:
        InputError: the URL holds another run's study of this name.
    """
    with tempfile.TemporaryDirectory() as scratch:
        study = optuna.create_study(
            storage=optuna.storages.get_storage(url) if url else _journal((run.folder.local or Path(scratch)) / STUDY),
            study_name=run.search.name,
            directions=directions(run.objectives),
            load_if_exists=True,
        )
        known = study.user_attrs.get(STARTED)
        if known != run.search.started and (known or study.get_trials(deepcopy=False)):
            raise InputError(
                f"--study holds another study {run.search.name!r}, which is not this run's. Pass another --name."
            )
        study.set_user_attr(STARTED, run.search.started)
        rebuild_study(run, study)
        yield study


def enqueue(study: optuna.Study, points: list[dict[str, Any]]) -> None:
    """Put a space's START points first; one that was tried or waits already is not doubled."""
    # Not Optuna's own `skip_if_exists`: it reads the whole study for every point.
    known = [trial.system_attrs.get("fixed_params", trial.params) for trial in study.get_trials(deepcopy=False)]
    for point in points:
        if point not in known:
            study.enqueue_trial(point)
            known.append(point)


def _journal(path: Path) -> JournalStorage:
    # Reading tolerates a torn last line, but what is appended next would be glued to it and lost.
    cut_unfinished_line(path)
    # Left behind by a killed driver; Optuna would wait 30 s for it. No other writer exists: the run's lock is ours.
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))
