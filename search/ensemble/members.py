"""Write and read `ensemble/members.json`: the rounds, and maybe the soup, that form a run's ensemble."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from model.errors import InputError
from search.runs.run import Run
from search.selection.candidates import Candidate
from search.selection.combiners import COMBINERS
from search.selection.library import Selection
from trainers.command_line import command_on
from trainers.folder import Folder
from trainers.settings import STRICT, Config, Number, read_record
from trainers.urls import shown

FOLDER = "ensemble"
MEMBERS_FILE = "members.json"
SOUP = "soup"
"""Name of the soup's folder inside the ensemble's folder, and of the soup as a member."""


@dataclass(frozen=True)
class Member:
    """A round of a trial, or a run's soup, in the ensemble of a task."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    run: str
    """Path or URI of the member's run."""
    trial: Number | None
    """None for the soup."""
    round: Number
    weight: Annotated[float, Field(gt=0, le=1 + 1e-6)]
    """Above 0; the weights of a task's members sum to 1."""

    @property
    def name(self) -> str:
        """The name in tables and reports, unique within the run."""
        return SOUP if self.trial is None else f"{self.trial}.{self.round}"


@dataclass(frozen=True)
class Ensemble:
    """The members of each task's ensemble, and the rule that combines their predictions."""

    strategy: str
    rules: dict[str, str]
    """Task -> a name in COMBINERS."""
    members: dict[str, list[Member]]
    """Task -> members, in order of decreasing weight."""


def members_of(names: Sequence[Candidate], selection: Selection) -> list[Member]:
    """Return the members of a selection from candidates, in order of decreasing weight."""
    weights = selection.weights
    chosen = [number for number in np.argsort(-weights, kind="stable") if weights[number] > 0]
    return [Member(**asdict(names[number]), weight=float(weights[number])) for number in chosen]


def member_folder(run: Run, trial: int | None) -> Folder:
    """Return the directory of a trial, or of the soup (None), which has the same files as a trial."""
    return run.folder / FOLDER / SOUP if trial is None else run.trial_folder(trial)


def choose_command(run: Run) -> str:
    """Return the command that chooses the ensemble of a run, quoted for a shell."""
    return command_on("search.ensemble", run.folder.uri)


class MembersRecord(Config):
    """The content of `members.json`."""

    strategy: str
    combine: dict[str, str]
    members: dict[str, Annotated[list[Member], Field(min_length=1)]]

    def _faults(self) -> Iterable[str]:
        if self.combine.keys() != self.members.keys():
            yield "`combine` and `members` name different tasks"
        if unknown := {*self.combine.values()} - COMBINERS.keys():
            yield f"there is no rule {min(unknown)!r}"
        for task, members in self.members.items():
            if not math.isclose(sum(member.weight for member in members), 1, abs_tol=1e-6):
                yield f"the weights of {task} do not sum to 1"


def write_ensemble(run: Run, ensemble: Ensemble, folder: Folder | None = None) -> None:
    """Write the ensemble of `run`, by default into its `ensemble/`.

    In the run's directory its own members have "." as their run, so that the directory can be moved.
    """
    folder = folder or run.folder / FOLDER
    own = "." if folder.uri.startswith(f"{run.folder.uri}/") else shown(run.folder.uri)
    members = {
        task: [
            asdict(member) | {"run": own if member.run == run.folder.uri else shown(member.run)} for member in members
        ]
        for task, members in ensemble.members.items()
    }
    folder.write_json(MEMBERS_FILE, {"strategy": ensemble.strategy, "combine": ensemble.rules, "members": members})


def read_ensemble(run: Run) -> Ensemble:
    """Read `ensemble/members.json`.

    Raises:
        InputError: the run has no ensemble yet, or the file is damaged.
    """
    folder = run.folder / FOLDER
    if not folder.exists(MEMBERS_FILE):
        raise InputError(f"Run {run.folder} has no ensemble yet. Choose one: {choose_command(run)}")
    record = read_record(folder, MEMBERS_FILE, MembersRecord, remedy(run))
    if missing := record.members.keys() - run.tasks.keys():
        raise InputError(
            f"{folder}/{MEMBERS_FILE} cannot be used: the run's data have no task {min(missing)!r}. {remedy(run)}"
        )
    own = {".": run.folder.uri}
    members = {
        task: [replace(member, run=own.get(member.run, member.run)) for member in found]
        for task, found in record.members.items()
    }
    return Ensemble(record.strategy, record.combine, members)


def remedy(run: Run) -> str:
    """Return what to do if a file of a run's ensemble is damaged."""
    return f"Choose the ensemble again: {choose_command(run)}"
