"""Compare what users get in equal time on the same two cores: predictions of rows whose labels are hidden.

`python -m benchmarks.whole --data DIR` runs the missing sides under --storage and prints the results of all sides.

All sides train on the same rows from the same weights, select with one half of dev and predict the other half, whose
labels are hidden. The time of a side starts with its process and ends when its predictions exist. The side `plain`, a
single training, takes less time: longer trainings were not better.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import rich
import typer

from benchmarks import whole_data, whole_plain, whole_space
from benchmarks.whole_scores import RESULT, Result, compare, prediction_folder, score_table, work_table
from model.errors import InputError
from search.launch.space_file import own_spaces
from search.runs.run import Run
from search.runs.trial_record import Trial
from trainers.command_line import command
from trainers.devices import Precision

CORES = 2
TRIALS = 100_000
"""More trials than the time allows."""
SETTINGS = "settings.json"
ENVIRONMENT = {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""For all sides: workers with normal priority, and all sockets on loopback."""


class Side(StrEnum):
    """What is compared."""

    DEFAULT = "default"
    """Our search in its default space."""
    SAME_SPACE = "same-space"
    """Our search in the peer's space."""
    PLAIN = "plain"
    """One training of ours, chosen beforehand."""
    PEER = "peer"
    """OptunaSearch and ASHAScheduler over a transformers loop."""
    PEER_FUSED = "peer-fused"
    """The same with torch's fused AdamW."""


@dataclass(frozen=True)
class Settings:
    """The settings that must be equal for comparable results."""

    data: str
    rows: int
    minutes: float
    encoder: str
    precision: Precision
    """Precision of our sides; the peer's is float32."""


@dataclass(frozen=True)
class Assignment:
    """What a side is to do."""

    home: Path
    """The directory of its results."""
    data: Path
    settings: Settings
    seed: int

    def flags(self, **more: object) -> list[str]:
        """Return the options that all sides share, and more options."""
        shared = {"data": self.data, "rows": self.settings.rows, "encoder": self.settings.encoder, "seed": self.seed}
        return [part for name, value in (shared | more).items() for part in (f"--{name.replace('_', '-')}", str(value))]


def main(
    data: Annotated[Path, typer.Option(help="A directory with the files of the course.")],
    rows: Annotated[int, typer.Option(min=50, max=6000, help="Number of training rows per task.")] = 1000,
    minutes: Annotated[float, typer.Option(min=1, help="Minutes per side, predictions included.")] = 20,
    encoder: Annotated[str, typer.Option(help="minilm or minilm:LAYERS.")] = "minilm",
    precision: Annotated[Precision, typer.Option(help="Precision of our sides.")] = "float32",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training rows, the search and the trials.")] = 0,
    side: Annotated[
        list[Side] | None,
        typer.Option(
            help="Sides to run and to compare, the first one with each other one: default (our search in its default "
            "space), same-space (our search in the peer's space), plain (one training of ours, chosen beforehand), "
            "peer (OptunaSearch and ASHAScheduler over a transformers loop), peer-fused (the same with torch's fused "
            "AdamW). By default, default, plain and peer."
        ),
    ] = None,
    storage: Annotated[Path, typer.Option(help="Directory of all results; it may hold several seeds.")] = Path(
        "runs/whole"
    ),
    out: Annotated[Path | None, typer.Option(help="JSON file for the results.")] = None,
) -> None:
    """Run the missing sides of a seed; print the results of all seeds that all chosen sides have finished."""
    with command("benchmarks.whole"):
        settings = Settings(str(data.absolute()), rows, minutes, encoder, precision)
        chosen = side or [Side.DEFAULT, Side.PLAIN, Side.PEER]
        _settle(storage, settings)
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        for each in chosen:
            home = storage / f"seed-{seed}" / each
            if not (home / RESULT).exists():
                shutil.rmtree(home, ignore_errors=True)
                result = SIDES[each](Assignment(home, storage / "data", settings, seed))
                (home / RESULT).write_text(json.dumps(asdict(result), indent=2))
        finished = sorted(
            home for home in storage.glob("seed-*") if all((home / each / RESULT).exists() for each in chosen)
        )
        results = compare(finished, list(chosen), whole_data.read_hidden(storage / "data"))
        rich.print(score_table(results), work_table(results))
        if out:
            out.write_text(json.dumps({"settings": asdict(settings), **results}, indent=2))


def run_default(assignment: Assignment) -> Result:
    """Search the default space with the default settings."""
    return _searched(assignment, own_spaces()["smart"], time_budget=_search_budget(assignment), cpus_per_trial=1)


def run_same_space(assignment: Assignment) -> Result:
    """Search the peer's space with our search."""
    budget = _search_budget(assignment)
    return _searched(assignment, Path(str(whole_space.__file__)), time_budget=budget, cpus_per_trial=1, trials=TRIALS)


def run_plain(assignment: Assignment) -> Result:
    """Train one config on both cores; its best round for each task predicts."""
    space = Path(str(whole_plain.__file__))
    return _searched(assignment, space, "single", trials=1, concurrency=1, cpus_per_trial=CORES, trial_scheduler="none")


def run_peer(assignment: Assignment, *, fused: bool = False) -> Result:
    """Search with plain Ray Tune, then predict with the best checkpoint."""
    flags = assignment.flags(until=time.time() + 60 * assignment.settings.minutes) + ["--fused"] * fused
    started = _call(assignment.home, "benchmarks.whole_peer", str(assignment.home), *flags)
    found = json.loads((assignment.home / "search.json").read_text())
    seconds = _ended(prediction_folder(assignment.home)) - started
    return Result(seconds, found["trials"], found["rounds"], found["tokens"])


def run_peer_fused(assignment: Assignment) -> Result:
    """Run the peer with torch's fused AdamW, which changes its speed only."""
    return run_peer(assignment, fused=True)


SIDES: dict[Side, Callable[[Assignment], Result]] = {
    Side.DEFAULT: run_default,
    Side.SAME_SPACE: run_same_space,
    Side.PLAIN: run_plain,
    Side.PEER: run_peer,
    Side.PEER_FUSED: run_peer_fused,
}


def _searched(assignment: Assignment, space: Path, strategy: str | None = None, **options: object) -> Result:
    """Search with `search.launch`, which ends with the predictions of the ensemble; return the results.

    Args:
        strategy: another strategy than the default, with which the members are chosen again.
    """
    storage = assignment.home.parent
    flags = assignment.flags(
        name=assignment.home.name, storage=storage, precision=assignment.settings.precision, gpus_per_trial=0, **options
    )
    started = _call(assignment.home, "search.launch", str(space), *flags)
    if strategy:
        _call(
            assignment.home, "search.ensemble", assignment.home.name, "--storage", str(storage), "--strategy", strategy
        )
    trials = {trial.number: trial for trial in Run.open(assignment.home.name, str(storage)).trials()}
    seconds = _ended(prediction_folder(assignment.home)) - started
    tokens = sum(_tokens(trial, trials) for trial in trials.values() if trial.rows)
    begun = sum(trial.clone is None for trial in trials.values())
    return Result(seconds, begun, sum(len(trial.rows) for trial in trials.values()), tokens)


def _tokens(trial: Trial, trials: Mapping[int, Trial]) -> int:
    """Return the training tokens of a trial's own rounds; its rows also count those of a trial that it continues."""
    before = trials[trial.clone.trial].rows[trial.clone.round - 1].tokens if trial.clone else 0
    return trial.rows[-1].tokens - before


def _search_budget(assignment: Assignment) -> str:
    """Return the time budget of a search: unfinished rounds, the choice of members and predictions come after it."""
    return f"{max(54 * assignment.settings.minutes - 60, 30 * assignment.settings.minutes):.0f}s"


def _settle(storage: Path, settings: Settings) -> None:
    """Write the data of a storage, or check that the existing data have the same settings."""
    path = storage / SETTINGS
    if path.exists():
        if (made := json.loads(path.read_text())) != asdict(settings):
            raise InputError(f"{storage} was created with {made}, not {asdict(settings)}. Pass another --storage.")
        return
    whole_data.split_dev(Path(settings.data), storage / "data")
    path.write_text(json.dumps(asdict(settings), indent=2))


def _call(home: Path, module: str, *arguments: str) -> float:
    """Run a module of this project in a new process; return its start in seconds since 1970."""
    # A new cache, so that the side does not profit from an earlier tokenisation.
    environment = os.environ | ENVIRONMENT | {"XDG_CACHE_HOME": str((home.parent / f"cache-{home.name}").absolute())}
    started = time.time()
    subprocess.run([sys.executable, "-m", module, *arguments], env=environment, check=True)
    return started


def _ended(folder: Path) -> float:
    """Return the time of the last prediction file in seconds since 1970."""
    return max(path.stat().st_mtime for path in whole_data.prediction_files(folder).values())


if __name__ == "__main__":
    typer.run(main)
