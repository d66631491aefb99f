"""Read a run directory, and write the table of its trials."""

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet

from model.errors import InputError
from search.runs.objectives import kept_metrics
from search.runs.search_record import SEARCH, Reproduction, SearchRecord, read_search
from search.runs.trial_record import RUNNING, TRIAL, Trial, read_trial
from trainers.data.corpus import Corpus, corpus_tasks
from trainers.folder import Folder, local_copy
from trainers.tasks import Task
from trainers.training.kept_rounds import Keep
from trainers.trial import CHECKPOINTS, round_name
from trainers.urls import shown

TABLE = "trials.parquet"
STUDY = "study.journal"


class Run:
    """A run directory. Files are read on demand."""

    def __init__(self, folder: Folder):
        self.folder = folder
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
        """The rounds whose weights are kept."""
        return Keep.of(kept_metrics(self.objectives, self.search.tasks), self.search.keep)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """All tasks of the run's data, including tasks that the search does not train."""
        return corpus_tasks(self.folder / "corpus")

    def trial_folder(self, number: int) -> Folder:
        """Return the folder of a trial, which may not exist yet."""
        return self.folder / "trials" / round_name(number)

    def trials(self) -> list[Trial]:
        """Read all trials, ordered by number. Ended trials are read once."""
        folder = self.folder / "trials"
        names = [name for name in folder.names() if name in self._ended or (folder / name).exists(TRIAL)]
        trials = {name: self._ended.get(name) or read_trial(folder / name) for name in names}
        self._ended |= {name: trial for name, trial in trials.items() if trial.state != RUNNING}
        return list(trials.values())

    def rounds_with_weights(self) -> list[tuple[Trial, int]]:
        """List (trial, round) of every finite round whose weights are on the disk."""
        found = []
        for trial in self.trials():
            saved = set((trial.folder / CHECKPOINTS).names())
            found += [(trial, row.round) for row in trial.rows if row.finite and round_name(row.round) in saved]
        return found

    def corpus(self) -> Corpus:
        """Open the run's tokenised data."""
        return Corpus.open(self.local_path("corpus"))

    @property
    def ended_count(self) -> int:
        """The number of ended trials."""
        return sum(trial.state != RUNNING for trial in self.trials())

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


def write_table(run: Run) -> None:
    """Write `trials.parquet` from the trials' files."""
    table = pyarrow.Table.from_pandas(run.table(), preserve_index=False)
    with run.folder.writing(TABLE) as file:
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
