"""Compare whole searches with equal time on the same two cores: our search with its ensemble against plain Ray Tune.

`python -m benchmarks.whole --data DIR` runs the missing sides under --storage, ours first, and prints both results.

Both sides search the same space (`whole_space`) with the same rows, rounds, batches and weights. They select with one
half of dev and predict the other half, whose labels are hidden. The peer is `OptunaSearch` and `ASHAScheduler` with a
plain transformers loop (`whole_loop`); its best single run predicts. The time of a side starts with its process and
ends when its predictions exist. Tokens are training tokens without padding. A step with SMART costs 8 forward passes:
3 forward passes, and backward passes that cost as much as 5; the backward pass of a plain step costs as much as 2.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import rich
import typer
from rich.table import Table

from benchmarks import whole_data, whole_space
from benchmarks.whole_data import Hidden
from model.errors import InputError
from search.runs.run import Run
from search.selection.bootstrap import RESAMPLES, interval
from search.session.scored_rows import SMART_COST, TRAIN_COST
from trainers.command_line import command
from trainers.evaluation.scores import score
from trainers.seeds import numpy_generator
from trainers.tasks import TASKS

CORES = 2
TOKEN_COST = TRAIN_COST + SMART_COST
"""Cost of a token in a step with SMART, in forward passes. All configs of the space use SMART."""
POINTS, TOKENS = 1.0, 2.3
"""Targets: difference of the scores in points, and ratio of the numbers of training tokens."""
TRIALS = 100_000
"""More trials than the time allows."""
SETTINGS, RESULT = "settings.json", "result.json"
ENVIRONMENT = {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""For both sides: workers with normal priority, and all sockets on loopback."""

Side = Literal["ours", "peer"]


@dataclass(frozen=True)
class Settings:
    """The settings that must be equal for comparable results."""

    data: str
    rows: int
    minutes: float
    encoder: str


@dataclass(frozen=True)
class Result:
    """The results of one side."""

    seconds: float
    """Seconds from the start of its process until its predictions exist."""
    trials: int
    rounds: int
    tokens: int


def main(
    data: Annotated[Path, typer.Option(help="A directory with the files of the course.")],
    rows: Annotated[int, typer.Option(min=50, max=6000, help="Number of training rows per task.")] = 1000,
    minutes: Annotated[float, typer.Option(min=1, help="Minutes per side, predictions included.")] = 30,
    encoder: Annotated[str, typer.Option(help="minilm or minilm:LAYERS.")] = "minilm",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training rows, the search and the trials.")] = 0,
    only: Annotated[Side | None, typer.Option(help="Run this side only.")] = None,
    storage: Annotated[Path, typer.Option(help="Directory of all results; it may hold several seeds.")] = Path(
        "runs/whole"
    ),
    out: Annotated[Path | None, typer.Option(help="JSON file for the results.")] = None,
) -> None:
    """Run the missing sides of a seed; print the results of all seeds that both sides have finished."""
    with command("benchmarks.whole"):
        settings = Settings(str(data.absolute()), rows, minutes, encoder)
        _settle(storage, settings)
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        for side, run in SIDES.items():
            home = storage / f"seed-{seed}" / side
            if only in (None, side) and not (home / RESULT).exists():
                shutil.rmtree(home, ignore_errors=True)
                result = run(home, storage / "data", settings, seed)
                (home / RESULT).write_text(json.dumps(asdict(result), indent=2))
        homes = [home for home in storage.glob("seed-*") if all((home / side / RESULT).exists() for side in SIDES)]
        if homes:
            results = compare(sorted(homes), whole_data.read_hidden(storage / "data"))
            rich.print(score_table(results), work_table(results), *verdicts(results, minutes), sep="\n")
            if out:
                out.write_text(json.dumps({"settings": asdict(settings), **results}, indent=2))


def run_ours(home: Path, data: Path, settings: Settings, seed: int) -> Result:
    """Search with `search.launch`, which ends with the predictions of the ensemble; return the results."""
    # After this budget come unfinished rounds, the selection of members and their predictions.
    budget = max(54 * settings.minutes - 60, 30 * settings.minutes)
    options = {
        "name": home.name,
        "storage": home.parent,
        "data": data,
        "rows": settings.rows,
        "encoder": settings.encoder,
        "seed": seed,
        "trials": TRIALS,
        "concurrency": CORES,
        "gpus-per-trial": 0,
        "time-budget": f"{budget:.0f}s",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    started = _call(home, "search.launch", str(whole_space.__file__), *flags)
    run = Run.open(home.name, str(home.parent))
    rows = [trial.rows for trial in run.trials()]
    tokens = sum(trial[-1].tokens for trial in rows if trial)
    return Result(_ended(_predictions(home, "ours")) - started, len(rows), sum(map(len, rows)), tokens)


def run_peer(home: Path, data: Path, settings: Settings, seed: int) -> Result:
    """Search with plain Ray Tune, then predict with the best checkpoint; return the results."""
    until = time.time() + 60 * settings.minutes
    options = {"data": data, "rows": settings.rows, "encoder": settings.encoder, "seed": seed, "until": until}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    started = _call(home, "benchmarks.whole_peer", str(home), *flags)
    found = json.loads((home / "search.json").read_text())
    seconds = _ended(_predictions(home, "peer")) - started
    return Result(seconds, found["trials"], found["rounds"], found["tokens"])


SIDES: dict[Side, Callable[[Path, Path, Settings, int], Result]] = {"ours": run_ours, "peer": run_peer}


def compare(homes: list[Path], hidden: Hidden) -> dict[str, Any]:
    """Score both sides on the hidden rows. Differences and their bootstrap are paired by row and seed.

    Args:
        homes: one folder per seed, with the results of both sides.
        hidden: ids and labels of the hidden rows.
    """
    draw = numpy_generator(0, "whole", "seeds")
    seeds = draw.integers(len(homes), size=(RESAMPLES, len(homes)))
    values: dict[str, dict[Side, float]] = {}
    drawn: dict[str, dict[Side, np.ndarray]] = {}
    for task, (_, labels) in hidden.items():
        rows = numpy_generator(0, "whole", task).integers(len(labels), size=(RESAMPLES, len(labels)))
        values[task], drawn[task] = {}, {}
        for side in SIDES:
            found = [whole_data.read_predictions(_predictions(home / side, side), hidden)[task] for home in homes]
            predicted = np.stack(found)  # [seeds, rows]
            values[task][side] = float(whole_data.metric(task, predicted, labels).mean())
            resampled = whole_data.metric(task, predicted[:, rows], labels[rows])  # [seeds, resamples]
            drawn[task][side] = resampled[seeds.T, np.arange(RESAMPLES)].mean(axis=0)
    values["score"] = {s: float(score({task: values[task][s] for task in hidden}, TASKS)) for s in SIDES}
    drawn["score"] = {s: score({task: drawn[task][s] for task in hidden}, TASKS) for s in SIDES}
    entries = {
        name: {
            **values[name],
            "difference": values[name]["ours"] - values[name]["peer"],
            "interval": interval(drawn[name]["ours"] - drawn[name]["peer"]),
            "rows": len(hidden[name][1]) if name in hidden else None,
        }
        for name in values
    }
    work = {side: [json.loads((home / side / RESULT).read_text()) for home in homes] for side in SIDES}
    tokens = {side: sum(result["tokens"] for result in work[side]) for side in SIDES}
    return {"scores": entries, "work": work, "tokens_ratio": tokens["ours"] / tokens["peer"]}


def score_table(results: dict[str, Any]) -> Table:
    """Return a table of both sides' scores."""
    shown = Table("hidden half of dev", "rows", "ours", "peer", "difference in points", "95 % interval")
    for name, entry in results["scores"].items():
        low, high = (100 * bound for bound in entry["interval"])
        difference = f"{100 * entry['difference']:+.2f}"
        cells = [f"{entry['ours']:.4f}", f"{entry['peer']:.4f}", difference, f"{low:+.2f} to {high:+.2f}"]
        shown.add_row(name, str(entry["rows"] or ""), *cells)
    return shown


def work_table(results: dict[str, Any]) -> Table:
    """Return a table of both sides' work, one row per side and seed."""
    shown = Table("side", "minutes", "trials", "rounds", "tokens trained on", "token passes", "tokens per second")
    for side, entries in results["work"].items():
        for found in entries:
            counts = [f"{found[name]:,}" for name in ("trials", "rounds", "tokens")]
            passes, rate = f"{TOKEN_COST * found['tokens']:,}", f"{found['tokens'] / found['seconds']:,.0f}"
            shown.add_row(side, f"{found['seconds'] / 60:.1f}", *counts, passes, rate)
    return shown


def verdicts(results: dict[str, Any], minutes: float) -> list[str]:
    """Return a sentence per target, whether it is met, and a sentence per side that exceeded its time."""
    ahead, times = results["scores"]["score"], results["tokens_ratio"]
    met = 100 * ahead["difference"] >= POINTS and ahead["interval"][0] > 0
    lines = [
        f"Score: {100 * ahead['difference']:+.2f} points, target {POINTS:+} with an interval above 0: {_word(met)}.",
        f"Tokens: {times:.2f} times the peer's, target {TOKENS}: {_word(times >= TOKENS)}.",
    ]
    late = {
        side: max(found["seconds"] for found in entries) / 60
        for side, entries in results["work"].items()
        if max(found["seconds"] for found in entries) > 60 * minutes
    }
    return lines + [f"{side} took {taken:.1f} of {minutes:g} minutes." for side, taken in late.items()]


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


def _predictions(home: Path, side: Side) -> Path:
    return home / "ensemble" / "predictions" if side == "ours" else home


def _ended(folder: Path) -> float:
    """Return the time of the last prediction file in seconds since 1970."""
    return max(path.stat().st_mtime for path in whole_data.prediction_files(folder).values())


def _word(met: bool) -> str:
    return "met" if met else "missed"


if __name__ == "__main__":
    typer.run(main)
