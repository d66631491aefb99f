"""Read a run directory, and write the table of its trials."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet

from model.errors import InputError, first_line
from search.runs.objectives import kept_metrics
from search.runs.search_record import SEARCH, Reproduction, SearchRecord, read_search
from search.runs.trial_record import RUNNING, TRIAL, Trial, read_trial
from trainers.data.corpus import Corpus, corpus_tasks
from trainers.folder import Folder, local_copy
from trainers.tasks import Task
from trainers.training.kept_rounds import Keep
from trainers.trial import CHECKPOINTS, read_config, round_name
from trainers.urls import shown

TABLE = "trials.parquet"
TRIAL_NAME = re.compile(r"\d{5,9}")
"""Names of trials' folders."""
STUDY = "study.journal"


class Run:
    """A run directory. Files are read on demand."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self.notes: dict[str, None] = {}
        """Lines about damaged files, and about what was left out because of them, in the order in which they were
        found."""
        self._ended: dict[str, Trial] = {}
        """Folder name -> ended trial. Its files no longer change, so they are read once."""

    @classmethod
    def open(cls, name: str, storage: str = "runs") -> "Run":
        """Open a run by its name under `storage`, its path or its URI.

        Raises:
            InputError: there is no such run, or something in it is a symbolic link.
        """
        place = Folder.at(storage)
        for folder in (Folder.at(name), place / name):
            if folder.exists(SEARCH):
                folder.check_links()
                return cls(folder)
        known = [child for child in place.names() if (place / child).exists(SEARCH)]
        raise InputError(
            f"There is no run {shown(name)!r}: no {SEARCH} was found at this path, or under this name in {place}. "
            f"Runs in {place}: {', '.join(known) or 'none'}."
        )

    @cached_property
    def search(self) -> SearchRecord:
        """The content of `search.json`."""
        return read_search(self.folder)

    @property
    def reproduction(self) -> Reproduction:
        """The settings of a run that `search.reproduce` started.

        Raises:
            InputError: `search.launch` started the run.
        """
        if self.search.reproduction is None:
            raise InputError(
                f"Run {self.folder.name!r} is a search, not a reproduction of the reports. "
                "Resume it with search.launch, or pass another --name."
            )
        return self.search.reproduction

    @property
    def objectives(self) -> list[str]:
        """The names of the search's objectives."""
        return list(self.search.objective)

    @property
    def keep(self) -> Keep:
        """The checkpoints of ended trials that are kept."""
        search = self.search
        return Keep.of(kept_metrics(self.objectives, search.tasks), search.keep, stops_early=search.stops_early)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """All tasks of the run's data, including tasks that the search does not train.

        Raises:
            InputError: the data have no such task as the search trains.
        """
        tasks = corpus_tasks(self.folder / "corpus")
        if missing := set(self.search.tasks) - tasks.keys():
            raise InputError(
                f"{self.folder}/{SEARCH} cannot be used: the run's data have no task {min(missing)!r}. "
                f"Copy the file and {self.folder / 'corpus'} from the same backup, or start a new run."
            )
        return tasks

    def trial_folder(self, number: int) -> Folder:
        """Return the folder of a trial, which may not exist yet."""
        return self.folder / "trials" / round_name(number)

    def note(self, text: str) -> None:
        """Add a line about a damaged file."""
        self.notes[text] = None

    def trial_folders(self) -> list[Folder]:
        """List the folders of trials, ordered by number. A trial exists when it has its `trial.json`."""
        folder = self.folder / "trials"
        names = [name for name in folder.names() if TRIAL_NAME.fullmatch(name)]
        return [folder / name for name in names if name in self._ended or (folder / name).exists(TRIAL)]

    def trials(self) -> list[Trial]:
        """Read all trials, ordered by number. Ended trials are read once. A trial that cannot be read is left out."""
        trials: list[Trial] = []
        for folder in self.trial_folders():
            try:
                trials.append(self._ended.get(folder.name) or self._read_trial(folder))
            except InputError as error:
                self.note(f"Trial {int(folder.name)} is left out: {error}")
        self._ended |= {trial.folder.name: trial for trial in trials if trial.state != RUNNING}
        return trials

    def rounds_with_weights(self) -> list[tuple[Trial, int]]:
        """List (trial, round) of every finite round whose weights are on the disk and whose config can be read."""
        found = []
        for trial in self.trials():
            saved = set((trial.folder / CHECKPOINTS).names())
            rounds = [row.round for row in trial.rows if row.finite and round_name(row.round) in saved]
            try:
                if rounds:
                    read_config(trial.folder)
                found += [(trial, number) for number in rounds]
            except InputError as error:
                self.note(f"The weights of trial {trial.number} are left out: {error}")
        return found

    def _read_trial(self, folder: Folder) -> Trial:
        trial = read_trial(folder, self.note)
        if trial.values is not None and len(trial.values) != len(self.objectives):
            raise InputError(f"{folder}/{TRIAL} has {len(trial.values)} values for {len(self.objectives)} objectives.")
        return trial

    def corpus(self) -> Corpus:
        """Open the run's tokenised data."""
        return Corpus.open(self.local_path("corpus"))

    @property
    def ended_count(self) -> int:
        """The number of ended trials; a trial that a clone replaces or continues has not ended."""
        trials = self.trials()
        replaced = {trial.clone.replaced for trial in trials if trial.clone}
        return sum(trial.state != RUNNING and trial.number not in replaced for trial in trials)

    def local_path(self, name: str) -> Path:
        """Return the path of a folder of the run on this machine; a remote folder is copied to the user's cache."""
        return local_copy(self.folder / name)

    def table(self) -> pandas.DataFrame:
        """Return a table with a row per round of each trial; a trial without rounds has one row without `round`."""
        table = pandas.DataFrame([row for trial in self.trials() for row in _table_rows(trial)])
        for name in table.columns:
            if name.startswith("params.") and len({type(value) for value in table[name].dropna()}) > 1:
                table[name] = table[name].map(str, na_action="ignore")  # Parquet needs one type per column
        return table


@contextmanager
def readable_run(remedy: str = "If the run may only be read, pass --out DIR to write elsewhere.") -> Iterator[None]:
    """Run the body of a command that reads runs; turn the error for a file that cannot be used into a sentence.

    Args:
        remedy: the sentence that says what the user can do.

    Raises:
        InputError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise InputError(f"{place}{error.strerror or first_line(error)}. {remedy}") from error


def write_table(run: Run, out: Folder | None = None) -> None:
    """Write `trials.parquet` from the trials' files, into `out` or, by default, the run directory."""
    table = pyarrow.Table.from_pandas(run.table(), preserve_index=False)
    with (out or run.folder).writing(TABLE) as file:
        pyarrow.parquet.write_table(table, file)


def _table_rows(trial: Trial) -> list[dict[str, Any]]:
    """Return the rows of a trial in the table; at least one."""
    same = {"trial": trial.number, "state": trial.state, "error": trial.reason if trial.state == "FAIL" else None}
    params = {f"params.{name}": value for name, value in trial.params.items()}
    columns = ("round", "score", "loss", "examples", "tokens", "steps")
    seconds = ("train_seconds", "eval_seconds", "save_seconds")
    rows = [
        {name: getattr(row, name) for name in columns}
        | row.metrics
        | {name: getattr(row, name) for name in (*seconds, "ended", "node")}
        for row in trial.rows
    ]
    return [same | row | params for row in rows or [dict.fromkeys((*columns, *seconds, "ended", "node"))]]
