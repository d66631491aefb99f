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

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Source:
    """A run or a study to learn from."""

    name: str
    """As it was given, without a password."""
    directions: list[StudyDirection]
    trials: list[FrozenTrial]
    """The ended ones."""
    search: SearchRecord | None
    """What a run was made of; nothing is known of a study."""


def shown(source: str) -> str:
    """Return a source as it may be written down, without a password."""
    place, mark, name = _parted(source)
    return make_url(place).render_as_string(hide_password=True) + mark + name if _is_url(place) else source


def read_sources(given: Sequence[str], storage: str) -> list[Source]:
    """Read the ended trials of runs (a name under `storage`, a path or a URI) or studies.

    Args:
        given: a study is an Optuna storage's URL or a journal's path, with #NAME if it holds several.

    Raises:
        InputError: there is no such run or study.
    """
    return [_read(source, storage) for source in dict.fromkeys(given)]


def _read(source: str, storage: str) -> Source:
    place, _, name = _parted(source)
    if _is_url(place) or Path(place).is_file():
        with _opened(place) as opened:
            study = _chosen(opened, shown(source), name)
            return Source(shown(source), study.directions, study.get_trials(states=ENDED), None)
    run = Run.open(source, storage)
    study = rebuild_study(run)
    return Source(source, study.directions, study.get_trials(states=ENDED), run.search)


def _parted(source: str) -> tuple[str, str, str]:
    """Part a study's place, "#" and its name."""
    place, mark, name = source.rpartition("#")
    return (place, mark, name) if mark and not Path(source).exists() else (source, "", "")


def _is_url(place: str) -> bool:
    """Whether it is a database's, and not a run's URI."""
    try:
        make_url(place).get_dialect()
    except (ArgumentError, NoSuchModuleError):
        return False
    return True


@contextmanager
def _opened(place: str) -> Iterator[BaseStorage]:
    """Open a storage without a change to it."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if not _is_url(place):  # a copy: Optuna opens a journal for writing
                copy = shutil.copyfile(place, Path(scratch) / "journal")
                yield JournalStorage(JournalFileBackend(str(copy)))
                return
            url = make_url(place)
            if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():  # it would be made
                raise InputError(f"--warm-start {place}: there is no file {url.database}. Correct the URL.")
            yield optuna.storages.get_storage(place)
    except InputError:
        raise
    except Exception as error:  # each database driver, and a file that is no journal, raises errors of its own
        raise InputError(
            f"--warm-start {shown(place)}: {first_line(error)}. Give a run, the URL of an Optuna storage, such as "
            "sqlite:///study.db, or the path of a journal."
        ) from error


def _chosen(storage: BaseStorage, place: str, name: str) -> optuna.Study:
    """Load a study by its name, or the only one that there is."""
    names = optuna.get_all_study_names(storage)
    if name and name not in names:
        raise unknown(f"study of {place}", name, names)
    if not name and len(names) != 1:
        raise InputError(f"--warm-start {place}: holds {len(names)} studies. Write {place}#NAME: {', '.join(names)}.")
    return optuna.load_study(study_name=name or names[0], storage=storage)
