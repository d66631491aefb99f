"""Compare what users get in equal time on the same two cores: predictions of rows whose labels are hidden.

`python -m benchmarks.whole --data DIR` runs the missing sides under --storage and prints the results of all sides.

All sides train on the same rows from the same weights, select with one half of dev and predict the other half, whose
labels are hidden. The time of a side starts with its process and ends when its predictions exist.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
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
class Task:
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
                result = SIDES[each](Task(home, storage / "data", settings, seed))
                (home / RESULT).write_text(json.dumps(asdict(result), indent=2))
        finished = sorted(
            home for home in storage.glob("seed-*") if all((home / each / RESULT).exists() for each in chosen)
        )
        results = compare(finished, list(chosen), whole_data.read_hidden(storage / "data"))
        rich.print(score_table(results), work_table(results))
        if out:
            out.write_text(json.dumps({"settings": asdict(settings), **results}, indent=2))


def run_default(task: Task) -> Result:
    """Search the default space with the default settings."""
    return _searched(task, own_spaces()["smart"], time_budget=_search_budget(task), cpus_per_trial=1)


def run_same_space(task: Task) -> Result:
    """Search the peer's space with our search."""
    budget = _search_budget(task)
    return _searched(task, Path(str(whole_space.__file__)), time_budget=budget, cpus_per_trial=1, trials=TRIALS)


def run_plain(task: Task) -> Result:
    """Train one config on both cores; its best round for each task predicts."""
    space = Path(str(whole_plain.__file__))
    return _searched(task, space, "single", trials=1, concurrency=1, cpus_per_trial=CORES, trial_scheduler="none")


def run_peer(task: Task, *, fused: bool = False) -> Result:
    """Search with plain Ray Tune, then predict with the best checkpoint."""
    flags = task.flags(until=time.time() + 60 * task.settings.minutes) + ["--fused"] * fused
    started = _call(task.home, "benchmarks.whole_peer", str(task.home), *flags)
    found = json.loads((task.home / "search.json").read_text())
    seconds = _ended(prediction_folder(task.home)) - started
    return Result(seconds, found["trials"], found["rounds"], found["tokens"])


def run_peer_fused(task: Task) -> Result:
    """Run the peer with torch's fused AdamW, which changes its speed only."""
    return run_peer(task, fused=True)


SIDES: dict[Side, Callable[[Task], Result]] = {
    Side.DEFAULT: run_default,
    Side.SAME_SPACE: run_same_space,
    Side.PLAIN: run_plain,
    Side.PEER: run_peer,
    Side.PEER_FUSED: run_peer_fused,
}


def _searched(task: Task, space: Path, strategy: str | None = None, **options: object) -> Result:
    """Search with `search.launch`, which ends with the predictions of the ensemble; return the results.

    Args:
        strategy: another strategy than the default, with which the members are chosen again.
    """
    storage = task.home.parent
    flags = task.flags(
        name=task.home.name, storage=storage, precision=task.settings.precision, gpus_per_trial=0, **options
    )
    started = _call(task.home, "search.launch", str(space), *flags)
    if strategy:
        _call(task.home, "search.ensemble", task.home.name, "--storage", str(storage), "--strategy", strategy)
    trials = Run.open(task.home.name, str(storage)).trials()
    rows = [trial.rows for trial in trials]
    tokens = sum(found[-1].tokens for found in rows if found)
    return Result(_ended(prediction_folder(task.home)) - started, len(rows), sum(map(len, rows)), tokens)


def _search_budget(task: Task) -> str:
    """Return the time budget of a search: unfinished rounds, the choice of members and predictions come after it."""
    return f"{max(54 * task.settings.minutes - 60, 30 * task.settings.minutes):.0f}s"


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
