"""Read the ended trials of earlier runs and studies."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from model.errors import InputError, first_line, unknown
from search.runs.rebuilt_study import rebuild_study
from search.runs.run import Run
from search.runs.search_record import SearchRecord
from search.runs.study import existing_storage
from trainers.urls import shown, without_secrets

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of the trials that a search can learn from."""


@dataclass(frozen=True)
class EarlierSearch:
    """A run or an Optuna study whose trials another search learns from."""

    name: str
    """The value of `--warm-start`, without secrets."""
    directions: list[StudyDirection]
    trials: list[FrozenTrial]
    """Finished and stopped trials."""
    search: SearchRecord | None
    """The run's `search.json`; None for a study, which has no such record."""


def shown_source(source: str) -> str:
    """Return a value of `--warm-start` with the secrets of its URL hidden."""
    place, mark, name = _split_name(source)
    return shown(source) if "@" in name else shown(place) + mark + name  # a password may hold "#"


def read_earlier_searches(sources: Sequence[str], storage: str) -> list[EarlierSearch]:
    """Read the finished and stopped trials of runs and studies; a repeated source is read once.

    Args:
        sources: for a run, its name in the folder `storage`, its path or its URI. For a study, the URL of an Optuna
            storage or the path of a journal file, followed by #NAME if it holds several studies.

    Raises:
        InputError: a run or study does not exist or cannot be read.
    """
    return [_read(source, storage) for source in dict.fromkeys(sources)]


def _read(source: str, storage: str) -> EarlierSearch:
    place, _, study_name = _split_name(source)
    if _is_database_url(place) or Path(place).is_file():
        with _open_storage(place) as opened:
            study = _load_study(opened, shown_source(source), study_name)
            return EarlierSearch(shown_source(source), study.directions, study.get_trials(states=ENDED), None)
    run = Run.open(source, storage)
    study = rebuild_study(run)
    return EarlierSearch(shown_source(source), study.directions, study.get_trials(states=ENDED), run.search)


def _split_name(source: str) -> tuple[str, str, str]:
    """Split `PLACE#NAME` into place, "#" and study name; the last two are empty if no study is named."""
    place, mark, name = source.rpartition("#")
    return (place, mark, name) if mark and not Path(source).exists() else (source, "", "")


def _is_database_url(place: str) -> bool:
    """Return whether SQLAlchemy knows the URL's database; it does not know the URI of a run."""
    try:
        make_url(place).get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):  # a ValueError is a port that is no number
        return False
    return True


@contextmanager
def _open_storage(place: str) -> Iterator[BaseStorage]:
    """Open an Optuna storage and leave it unchanged."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if not _is_database_url(place):  # Optuna opens a journal for writing, so a copy is opened
                copy = shutil.copyfile(place, Path(scratch) / "journal")
                yield JournalStorage(JournalFileBackend(str(copy)))
                return
            yield existing_storage(place, "--warm-start")
    except InputError:
        raise
    except Exception as error:  # each database driver raises its own errors; so does a file that is not a journal
        fault = without_secrets(first_line(error), place)
        raise InputError(
            f"--warm-start {shown(place)}: {fault}. Give a run, the URL of an Optuna storage, such as "
            "sqlite:///study.db, or the path of a journal."
        ) from None


def _load_study(storage: BaseStorage, source: str, study_name: str) -> optuna.Study:
    """Load a study by its name; without a name, load the storage's only study."""
    names = optuna.get_all_study_names(storage)
    if study_name and study_name not in names:
        raise unknown(f"study of {source}", study_name, names)
    if not study_name and len(names) != 1:
        raise InputError(f"--warm-start {source}: holds {len(names)} studies. Write {source}#NAME: {', '.join(names)}.")
    return optuna.load_study(study_name=study_name or names[0], storage=storage)
