"""Write and read `ensemble/members.json`: the rounds, and maybe the soup, that form a run's ensemble."""

import shlex
from dataclasses import asdict, dataclass

from model.errors import InputError
from search.runs.run import Run
from trainers.folder import Folder
from trainers.urls import shown

FOLDER = "ensemble"
MEMBERS_FILE = "members.json"
SOUP = "soup"
"""Name of the soup's folder inside the ensemble's folder, and of the soup as a member."""


@dataclass(frozen=True)
class Member:
    """A round of a trial, or a run's soup, in the ensemble of a task."""

    run: str
    """Path or URI of the member's run."""
    trial: int | None
    """None for the soup."""
    round: int
    weight: float
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


def member_folder(run: Run, trial: int | None) -> Folder:
    """Return the directory of a trial, or of the soup (None), which has the same files as a trial."""
    return run.folder / FOLDER / SOUP if trial is None else run.trial_folder(trial)


def choose_command(run: Run) -> str:
    """Return the command that chooses the ensemble of a run, quoted for a shell."""
    return shlex.join(["python", "-m", "search.ensemble", str(run.folder)])


def write_ensemble(run: Run, ensemble: Ensemble) -> None:
    """Write the ensemble of `run`; the run's own members have "." as their run, so the directory can be moved."""
    members = {
        task: [
            asdict(member) | {"run": "." if member.run == run.folder.uri else shown(member.run)} for member in members
        ]
        for task, members in ensemble.members.items()
    }
    record = {"strategy": ensemble.strategy, "combine": ensemble.rules, "members": members}
    (run.folder / FOLDER).write_json(MEMBERS_FILE, record)


def read_ensemble(run: Run) -> Ensemble:
    """Read `ensemble/members.json`.

    Raises:
        InputError: the run has no ensemble yet.
    """
    folder = run.folder / FOLDER
    if not folder.exists(MEMBERS_FILE):
        raise InputError(f"Run {run.folder} has no ensemble yet. Choose one: {choose_command(run)}")
    record = folder.read_json(MEMBERS_FILE)
    own = {".": run.folder.uri}
    members = {
        task: [Member(**member | {"run": own.get(member["run"], member["run"])}) for member in found]
        for task, found in record["members"].items()
    }
    return Ensemble(record["strategy"], record["combine"], members)
