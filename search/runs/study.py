"""Open and repair the Optuna study of a run; enqueue the points that a search tries first."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from model.errors import InputError, first_line
from model.whole_files import cut_unfinished_line
from search.runs.objectives import study_directions
from search.runs.rebuilt_study import rebuild_study, repair_trials
from search.runs.run import STUDY, Run
from search.runs.trial_record import TRIAL
from trainers.folder import Folder
from trainers.urls import MASK, shown, without_secrets

STARTED = "started"
"""User attribute of a study: the start time of its run, which identifies the run among runs of the same name."""


def checked_url(url: str | None) -> str | None:
    """Open an Optuna storage once, as a check; return its URL with its secrets hidden.

    Raises:
        InputError: the URL is invalid, or the storage cannot be opened.
    """
    if url is None:
        return None
    _parsed(url, "--study")
    try:
        optuna.storages.get_storage(url)
    except Exception as error:  # each database driver has its own exceptions
        fault = without_secrets(first_line(error), url)
        raise InputError(f"--study {shown(url)} cannot be opened: {fault}. Pass a writable storage.") from None
    return shown(url)


def existing_storage(url: str, option: str) -> RDBStorage:
    """Open an Optuna storage to read it: neither the database nor its tables are created.

    Args:
        option: the option that names the URL, for error messages.

    Raises:
        InputError: the URL is invalid, or there is no such storage.
    """
    parsed = _parsed(url, option)
    try:
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
            raise InputError(f"{option} {shown(url)}: there is no file {parsed.database}. Correct the URL.")
        return RDBStorage(url, skip_table_creation=True)
    except InputError:
        raise
    except Exception as error:  # each database driver has its own exceptions
        fault = without_secrets(first_line(error), url)
        raise InputError(f"{option} {shown(url)} cannot be read: {fault}. Pass a storage of Optuna.") from None


def _parsed(url: str, option: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # a ValueError is a port that is no number
        raise InputError(f"{option} {shown(url)!r} is not a URL. Pass a URL like sqlite:///study.db.") from None


def study_url(run: Run, given: str | None) -> str | None:
    """Return the URL of a run's study: `given`, or the URL in `search.json`.

    Raises:
        InputError: no URL is given, and a secret of the URL in `search.json` is hidden.
    """
    url = given or run.search.study
    if url and MASK in url:
        raise InputError(
            f"The study of run {run.folder.name!r} is at {url}. Pass --study again, with its secrets; env:NAME reads "
            "it from an environment variable."
        )
    return url


@contextmanager
def opened_study(run: Run, url: str | None) -> Iterator[optuna.Study]:
    """Open the run's study for writing, and add trials that it lacks from the run's files. The run must be locked.

    Args:
        url: an Optuna storage URL; None for a journal file in the run directory. An object store cannot append to a
            file: for a run on one, the journal is a temporary file on this machine.

    Raises:
        InputError: the storage has a study of this name that belongs to another run.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if url:
            study = _created(run, optuna.storages.get_storage(url))
            known = study.user_attrs.get(STARTED)
            if known != run.search.started and (known or study.get_trials(deepcopy=False)):
                raise InputError(
                    f"The storage of --study has a study {run.search.name!r} of another run. Pass another --name."
                )
        else:
            study = _journal_study(run, run.folder if run.folder.local else Folder.at(scratch))
        study.set_user_attr(STARTED, run.search.started)
        repair_trials(run, study)
        rebuild_study(run, study)
        yield study


def enqueue(study: optuna.Study, points: list[dict[str, Any]]) -> None:
    """Enqueue a space's START points, except points that were tried or enqueued before."""
    # Optuna's `skip_if_exists` reads the whole study for each point.
    known = [trial.system_attrs.get("fixed_params", trial.params) for trial in study.get_trials(deepcopy=False)]
    for point in points:
        if point not in known:
            study.enqueue_trial(point)
            known.append(point)


def _created(run: Run, storage: optuna.storages.BaseStorage | str) -> optuna.Study:
    """Create the run's study in a storage, or load it."""
    directions = study_directions(run.objectives)
    return optuna.create_study(storage=storage, study_name=run.search.name, directions=directions, load_if_exists=True)


def _journal_study(run: Run, folder: Folder) -> optuna.Study:
    """Load the study from the journal in a local folder; set a damaged journal aside and begin a new one."""
    try:
        study = _created(run, _journal(folder))
        if fault := _contradiction(run, study):
            raise ValueError(fault)
        return study
    except OSError:  # the disk's fault, not the journal's
        raise
    except Exception as error:  # Optuna replays the lines without checking them
        kept = folder.set_aside(STUDY)
        run.note(
            f"{folder}/{STUDY} cannot be used ({first_line(error)}), and is now {kept}. "
            "The study was rebuilt from the trials' files."
        )
        return _created(run, _journal(folder))


def _contradiction(run: Run, study: optuna.Study) -> str | None:
    """Return what in a study contradicts the run's files; None if nothing does."""
    trials = study.get_trials(deepcopy=False)
    known = study.user_attrs.get(STARTED)
    if known != run.search.started and (known or trials):
        return "it belongs to another run"
    if [direction.name.lower() for direction in study.directions] != study_directions(run.objectives):
        return "it has other objectives"
    for trial in run.trials():
        frozen = trials[trial.number] if trial.number < len(trials) else None
        if frozen and (
            frozen.params != trial.params or (frozen.state.is_finished() and frozen.state.name != trial.state)
        ):
            return f"its trial {trial.number} is not that of {TRIAL}"
    return None


def _journal(folder: Folder) -> JournalStorage:
    """Open the journal file in a local folder after repairing what a killed process has left."""
    # Optuna skips an unfinished last line, but would append the next entry to that line, and lose it.
    with folder.in_place(STUDY) as file:
        cut_unfinished_line(file)
    last = folder.read(STUDY).rpartition(b"\n")[0].rpartition(b"\n")[2]
    json.loads(last or b"{}")  # Optuna notices a damaged last line only after another line has followed
    # Optuna would wait 30 s for the lock of a killed process. The run is locked, so no other process writes.
    folder.delete(f"{STUDY}.lock")
    path = f"{folder.path}/{STUDY}"
    return JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))  # the default lock is a symbolic link
