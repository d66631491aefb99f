"""The Optuna study of a run: opened, mended, and filled with the points to try first."""

from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from model.errors import InputError
from search.runs import STUDY, Run, rebuild_study
from trainers.files import mend_last_line


def open_study(run: Run, url: str | None, scratch: Path) -> optuna.Study:
    """Open the run's study for writing, under the run's lock; one that was lost is rebuilt from the trials' files.

    Args:
        url: an Optuna storage URL; None for a journal file in the run directory.
        scratch: where the journal is kept while the run directory is an object store, which cannot append.

    Raises:
        InputError: the storage cannot be opened.
    """
    try:
        storage = optuna.storages.get_storage(url) if url else _journal((run.folder.local or scratch) / STUDY)
        study = optuna.create_study(
            storage=storage, study_name=run.search["name"], direction="maximize", load_if_exists=True
        )
    except Exception as error:
        raise InputError(f"--study {url}: {error}. Give an Optuna storage URL that can be written.") from error
    if not study.get_trials(deepcopy=False):
        rebuild_study(run, study)
    return study


def enqueue(study: optuna.Study, points: list[dict[str, Any]]) -> None:
    """Put a space's START points first; one that was tried or waits already is not doubled."""
    for point in points:
        study.enqueue_trial(point, skip_if_exists=True)


def _journal(path: Path) -> JournalStorage:
    # Reading tolerates a torn last line, but what is appended next would be glued to it and lost.
    mend_last_line(path)
    # Left behind by a killed driver; Optuna would wait 30 s for it. No other writer exists: the run's lock is ours.
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))
