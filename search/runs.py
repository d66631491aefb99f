"""The run directory: what the driver writes into it beside the trials' own files, and how all of it is read back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
import pandas
import pyarrow.parquet
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState

from model.errors import InputError
from search.objectives import directions, round_values
from trainers.checkpoint import STATE
from trainers.data import Corpus, corpus_tasks
from trainers.files import Folder, fetch
from trainers.tasks import Task
from trainers.trial import CHECKPOINTS, CONFIG, clear_unfinished, read_rows, round_name

SEARCH = "search.json"
TABLE = "trials.parquet"
TRIAL = "trial.json"
STUDY = "study.journal"
HIDDEN = "***"
"""Stands for a password in a URL that was written down."""
RUNNING = TrialState.RUNNING.name
STOPPED = "stopped"
"""The study's attribute of a trial that was stopped, with several objectives: the values of its last round."""
CLONE = "clone"
"""The attribute, in the study and in `trial.json`, of a trial that is one."""


@dataclass(frozen=True)
class Clone:
    """Whose clone a trial is."""

    trial: int
    """The donor."""
    round: int
    """Of the donor; the clone's own rounds begin behind it."""
    examples: int
    """That the donor had been trained on by then."""
    replaced: int
    """The trial whose place the clone took."""


@dataclass(frozen=True)
class Trial:
    """One trial's files, read back."""

    folder: Folder
    number: int
    params: dict[str, Any]
    distributions: dict[str, str]
    """Name -> Optuna's JSON of the distribution."""
    state: str
    """RUNNING until it has ended, then COMPLETE, PRUNED or FAIL."""
    values: list[float] | None
    """Of each objective: those of its best round if it finished, of its last one if it was stopped."""
    reason: str | None
    rows: list[dict[str, Any]]
    """Its finished rounds, in order; of a round that was trained twice the later row."""
    clone: Clone | None = None

    @property
    def kinds(self) -> dict[str, BaseDistribution]:
        """Name -> the distribution itself."""
        return {name: json_to_distribution(text) for name, text in self.distributions.items()}

    @property
    def judged(self) -> dict[int, float]:
        """Count of judged rounds -> score."""
        return {row["judged"]: row["score"] for row in self.rows if row["score"] is not None}

    @property
    def examples(self) -> int:
        """Training examples of its own rounds, of which there must be one."""
        return self.rows[-1]["examples"] - (self.clone.examples if self.clone else 0)

    @property
    def best_row(self) -> dict[str, Any]:
        """The row of its best judged round, the first of equals; there must be one."""
        return max((row for row in self.rows if row["score"] is not None), key=lambda row: row["score"])


class Run:
    """A run directory, read back: opening it reads one file, the rest on demand."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self._ended: dict[str, Trial] = {}
        """Name of the folder -> a trial that was read after its end, when nobody writes to it any more."""

    @classmethod
    def open(cls, name: str, storage: str = "runs") -> "Run":
        """Open a run by its name under `storage`, its path or its URI.

        Raises:
            InputError: there is no run of that name.
        """
        places = [Folder.at(name), Folder.at(storage) / name]
        for folder in places:
            if folder.exists(SEARCH):
                return cls(folder)
        known = [child for child in Folder.at(storage).names() if (Folder.at(storage) / child).exists(SEARCH)]
        raise InputError(
            f"There is no run {name!r}: no {SEARCH} in it. Runs in {storage}: {', '.join(known) or 'none'}."
        )

    @cached_property
    def search(self) -> dict[str, Any]:
        """What was asked: `search.json`."""
        return self.folder.read_json(SEARCH)

    @property
    def objectives(self) -> list[str]:
        """The names of what it was searched for."""
        return self.search["objective"]

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks of the run's data, which may be more than it searched."""
        return corpus_tasks(self.folder / "corpus")

    def trial_folder(self, number: int) -> Folder:
        """Return the folder of a trial; it may not exist yet."""
        return self.folder / "trials" / round_name(number)

    def trials(self) -> list[Trial]:
        """Read all trials, by number; those that had ended before are not read again."""
        folder = self.folder / "trials"
        names = [name for name in folder.names() if name in self._ended or (folder / name).exists(TRIAL)]
        trials = {name: self._ended.get(name) or _read_trial(folder / name) for name in names}
        self._ended |= {name: trial for name, trial in trials.items() if trial.state != RUNNING}
        return list(trials.values())

    def kept(self) -> list[tuple[Trial, int]]:
        """List (trial, round) of every finished round whose weights are on disk."""
        found = []
        for trial in self.trials():
            saved = set((trial.folder / CHECKPOINTS).names())
            found += [
                (trial, row["round"]) for row in trial.rows if row["finite"] and round_name(row["round"]) in saved
            ]
        return found

    def corpus(self) -> Corpus:
        """Open the tokenised data of the run."""
        return Corpus.open(self.local("corpus"))

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(trial.state != RUNNING for trial in self.trials())

    def local(self, name: str) -> Path:
        """Return a folder of the run as a path on this machine's disk: itself, or a copy in the user's cache."""
        return fetch(self.folder / name)

    def table(self) -> pandas.DataFrame:
        """Return all rounds of all trials, a row each; a trial without a finished round has one row without `round`."""
        table = pandas.DataFrame([row for trial in self.trials() for row in _table_rows(trial)])
        for name in table.columns:
            if name.startswith("params.") and len({type(value) for value in table[name].dropna()}) > 1:
                table[name] = table[name].map(str, na_action="ignore")  # a column of a file has one type
        return table


def clone_of(trial: optuna.trial.FrozenTrial) -> Clone | None:
    """Return whose clone the study says a trial is."""
    return Clone(**trial.user_attrs[CLONE]) if CLONE in trial.user_attrs else None


def start_trial(folder: Folder, trial: optuna.trial.FrozenTrial, config: str | None) -> None:
    """Write what a trial is, before any worker starts on it; a trial exists when its `trial.json` does.

    Args:
        config: its TrainConfig as JSON; None if the space gave none.
    """
    record = {
        "number": trial.number,
        "params": trial.params,
        "distributions": {
            name: optuna.distributions.distribution_to_json(distribution)
            for name, distribution in trial.distributions.items()
        },
        "state": RUNNING,
        "values": None,
        "reason": None,
        CLONE: trial.user_attrs.get(CLONE),
    }
    if config:
        folder.write(CONFIG, config)
    folder.write_json(TRIAL, record)


def end_trial(folder: Folder, state: TrialState, values: list[float] | None, reason: str) -> None:
    """Write how a trial ended."""
    folder.write_json(TRIAL, folder.read_json(TRIAL) | {"state": state.name, "values": values, "reason": reason})


def clear_trial(folder: Folder) -> None:
    """Delete the full states of a trial that nothing will resume, and what it did not finish."""
    for name in (folder / CHECKPOINTS).names():
        (folder / CHECKPOINTS / name).delete(STATE)
    clear_unfinished(folder, [row["round"] for row in read_rows(folder)])


def write_table(run: Run) -> None:
    """Write `trials.parquet` anew from the trials' files."""
    table = pyarrow.Table.from_pandas(run.table(), preserve_index=False)
    with run.folder.writing(TABLE) as file:
        pyarrow.parquet.write_table(table, file)


def rebuild_study(run: Run, study: optuna.Study | None = None) -> optuna.Study:
    """Add to a study, a new one in memory by default, the trials that the run's files tell of and it lacks."""
    study = study or optuna.create_study(directions=directions(run.objectives))
    known = len(study.get_trials(deepcopy=False))
    for trial in run.trials():
        if trial.number < known:
            continue
        for _ in range(known, trial.number):
            # A number that was given to a waiting point, of which no file tells: the next `ask` takes it.
            study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
        study.add_trial(_frozen(trial, run.objectives))
        known = trial.number + 1
    return study


def reported(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[int, float]:
    """Return count of judged rounds -> value, which the study knows of a trial; it takes none of several objectives."""
    found = {row["judged"]: round_values(row, names) for row in rows}
    return {judged: values[0] for judged, values in found.items() if values} if len(names) == 1 else {}


def stopped_attributes(state: TrialState, values: list[float] | None, *, several: bool) -> dict[str, Any]:
    """Return the attributes of an ended trial: of several objectives Optuna has no place for a stopped one's values."""
    return {STOPPED: values} if several and state == TrialState.PRUNED and values else {}


def _frozen(trial: Trial, names: Sequence[str]) -> optuna.trial.FrozenTrial:
    """Return what the study knows of a trial."""
    state = TrialState[trial.state]
    attributes = stopped_attributes(state, trial.values, several=len(names) > 1)
    return optuna.trial.create_trial(
        state=state,
        values=None if attributes else trial.values,
        params=trial.params,
        distributions=trial.kinds,
        user_attrs=attributes | ({CLONE: asdict(trial.clone)} if trial.clone else {}),
        intermediate_values=reported(trial.rows, names),
    )


def _read_trial(folder: Folder) -> Trial:
    record = folder.read_json(TRIAL)
    return Trial(
        folder,
        record["number"],
        record["params"],
        record["distributions"],
        record["state"],
        record["values"],
        record["reason"],
        read_rows(folder),
        Clone(**record[CLONE]) if record.get(CLONE) else None,
    )


def _table_rows(trial: Trial) -> list[dict[str, Any]]:
    same = {"trial": trial.number, "state": trial.state, "error": trial.reason if trial.state == "FAIL" else None}
    params = {f"params.{name}": value for name, value in trial.params.items()}
    columns = ("round", "score", "loss", "examples", "tokens", "steps")
    seconds = ("train_seconds", "eval_seconds", "save_seconds")
    rows = [
        {name: row[name] for name in columns}
        | row["metrics"]
        | {name: row[name] for name in (*seconds, "ended", "node")}
        for row in trial.rows
    ]
    return [same | row | params for row in rows or [dict.fromkeys((*columns, *seconds, "ended", "node"))]]
