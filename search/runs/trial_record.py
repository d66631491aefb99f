"""Read and write `trial.json`, the record of one trial in the run directory."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as fields_of
from operator import attrgetter
from typing import Any, ClassVar, Literal

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import TrialState
from pydantic import ConfigDict

from model.errors import InputError, first_line
from search.runs.plain_values import as_plain, printable
from trainers.folder import Folder
from trainers.settings import STRICT, Count, Number, read_record
from trainers.training.checkpoint import STATE
from trainers.training.rounds import RoundRow
from trainers.trial import CHECKPOINTS, CONFIG, clear_unfinished, read_rows, round_name

TRIAL = "trial.json"
REMEDY = "--resume rebuilds it from the study, or sets the trial aside."
RUNNING = TrialState.RUNNING.name
STOPPED_VALUES = "stopped"
"""User attribute of a stopped trial in a study with several objectives: the values of its last round."""
CLONE = "clone"
"""User attribute in the study, and field of `trial.json`, with the origin of a clone."""


@dataclass(frozen=True)
class Clone:
    """The origin of a trial that starts from the checkpoint of another trial, its donor.

    It is a clone in a population, or it continues a trial that early stopping has stopped.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    trial: Number
    """Number of the donor."""
    round: Number
    """The donor's round whose checkpoint was copied; the clone's own rounds have higher numbers."""
    examples: Count
    """Number of examples that the donor had trained on by the end of that round."""
    replaced: Number
    """Number of the trial that the clone replaced."""

    @property
    def continues(self) -> bool:
        """Whether the clone continues a stopped trial."""
        return self.trial == self.replaced


@dataclass(frozen=True)
class TrialRecord:
    """The content of `trial.json`; the fields are those of a `Trial`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    number: Number
    params: dict[str, Any]
    distributions: dict[str, str]
    state: Literal["RUNNING", "COMPLETE", "PRUNED", "FAIL"]
    values: list[float] | None
    reason: str | None
    clone: Clone | None


@dataclass(frozen=True)
class Trial:
    """The content of a trial's `trial.json` and `rounds.jsonl`."""

    folder: Folder
    number: int
    params: dict[str, Any]
    distributions: dict[str, str]
    """Name of a parameter -> its distribution, in Optuna's JSON format."""
    state: str
    """RUNNING until the trial ends, then COMPLETE, PRUNED or FAIL. It stays RUNNING if a budget cuts the trial."""
    values: list[float] | None
    """A value per objective: of the best round if the trial is COMPLETE, of the last round if it is PRUNED."""
    reason: str | None
    """Why the trial ended."""
    rows: list[RoundRow]
    """The rows of finished rounds, in order; of a round that was trained twice, the later row."""
    clone: Clone | None = None

    @property
    def optuna_distributions(self) -> dict[str, BaseDistribution]:
        """Name of a parameter -> its distribution; choices that no storage keeps unchanged are text, as in `params`."""
        return {name: _distribution(text) for name, text in self.distributions.items()}

    @property
    def shown_state(self) -> str:
        """The state in the words of the report: a trial that is RUNNING is unfinished, also after its search."""
        return "unfinished" if self.state == RUNNING else self.state.lower()

    @property
    def scores(self) -> dict[int, float]:
        """Count of judged rounds -> score of the last of them."""
        return {row.judged: row.score for row in self.rows if row.judged is not None and row.score is not None}

    @property
    def examples(self) -> int:
        """Number of training examples of the trial's own rounds, of which there must be at least one; at least 1."""
        return max(1, self.rows[-1].examples - (self.clone.examples if self.clone else 0))

    def has_state(self, round: int) -> bool:
        """Return whether the full state of a round is on the disk."""
        return (self.folder / CHECKPOINTS / round_name(round)).exists(STATE)

    @property
    def best_row(self) -> RoundRow:
        """The row of the judged round with the highest score, the earliest of equals; there must be a judged round."""
        return max((row for row in self.rows if row.score is not None), key=attrgetter("score"))


def is_training(trial: Trial) -> bool:
    """Return whether a trial names the training of a reproduction; a trial whose record was lost has no parameters."""
    return {"recipe", "seed"} <= trial.params.keys()


def training_name(trial: Trial) -> str:
    """Return the name of a reproduction's trial for readers: its recipe and seed if they are known."""
    return f"{trial.params['recipe']}, seed {trial.params['seed']}" if is_training(trial) else f"trial {trial.number}"


def clone_of(trial: optuna.trial.BaseTrial) -> Clone | None:
    """Return the origin of a study's trial that is a clone; None for other trials."""
    return Clone(**trial.user_attrs[CLONE]) if CLONE in trial.user_attrs else None


def start_trial(folder: Folder, trial: optuna.trial.FrozenTrial, config: str | None) -> None:
    """Write the first files of a trial, before a worker writes others. A trial exists when its `trial.json` exists.

    Args:
        config: the TrainConfig as JSON; None if the space failed to return a config.
    """
    distributions = {name: distribution_to_json(found) for name, found in trial.distributions.items()}
    if config:
        folder.write(CONFIG, config)
    _write(Trial(folder, trial.number, trial.params, distributions, RUNNING, None, None, [], clone_of(trial)))


def end_trial(folder: Folder, state: TrialState, values: list[float] | None, reason: str) -> None:
    """Write the state, the values and the reason of an ended trial into `trial.json`."""
    _write(replace(read_trial(folder), state=state.name, values=values, reason=printable(reason)))


def read_trial(folder: Folder, note: Callable[[str], object] = lambda text: None) -> Trial:
    """Read a trial's `trial.json` and its rounds; values of parameters that no storage keeps unchanged become text.

    Args:
        note: receives a line about the rounds that cannot be read and are left out, if there are any.

    Raises:
        InputError: `trial.json` is missing or damaged, or belongs to another trial.
    """
    record = read_record(folder, TRIAL, TrialRecord, REMEDY)
    record = replace(record, params={name: as_plain(value) for name, value in record.params.items()})
    if fault := _fault(record, folder.name):
        raise InputError(f"{folder}/{TRIAL} cannot be used: {fault}. {REMEDY}")
    return Trial(folder, **vars(record), rows=read_rows(folder, note))


def _fault(record: TrialRecord, name: str) -> str | None:
    """Return what contradicts itself in a record; None if nothing does."""
    if round_name(record.number) != name:
        return f"its number is {record.number}"
    if record.clone and record.clone.trial >= record.number:
        return f"it is a clone of the later trial {record.clone.trial}"
    if record.state == TrialState.COMPLETE.name and not record.values:
        return "the trial is COMPLETE without values"
    try:
        distributions = {name: _distribution(text) for name, text in record.distributions.items()}
        optuna.trial.create_trial(state=TrialState.RUNNING, params=record.params, distributions=distributions)
    except Exception as error:  # Optuna parses without checking: a KeyError, TypeError or ValueError
        return f"its parameters and distributions do not fit ({first_line(error)})"
    return None


def _distribution(text: str) -> BaseDistribution:
    record = json.loads(text)
    attributes = record["attributes"]
    if "choices" in attributes:
        attributes["choices"] = [as_plain(choice) for choice in attributes["choices"]]
    return json_to_distribution(json.dumps(record))


def _write(trial: Trial) -> None:
    """Write `trial.json`."""
    fields = {entry.name: getattr(trial, entry.name) for entry in fields_of(TrialRecord)}
    trial.folder.write_json(TRIAL, fields | {CLONE: asdict(trial.clone) if trial.clone else None})


def clear_ended_trial(folder: Folder, *, newest: bool = False) -> None:
    """Delete the training states of an ended trial, and files of rounds that it did not finish.

    Args:
        newest: whether the state of the newest round stays.
    """
    rounds = [row.round for row in read_rows(folder)]
    kept = round_name(rounds[-1]) if newest and rounds else None
    for name in (folder / CHECKPOINTS).names():
        if name != kept:
            (folder / CHECKPOINTS / name).delete(STATE)
    clear_unfinished(folder, rounds)
