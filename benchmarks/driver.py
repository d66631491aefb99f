"""Measure the cost of the driver: searcher, early stopping, journal and run directory, with trials that do not train.

`python -m benchmarks.driver` prints one row per search size.
"""

import io
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import optuna
import rich.console
import rich.table
import typer

from model.pretrained import save_encoder
from search.runs.run import Run
from search.runs.study import opened_study
from search.suggest.space import Space, check_space, example_configs
from search.tune import driver, ray_cluster
from search.tune.ray_environment import set_ray_environment
from search.tune.slots import Slots
from tests.search.example_run import example_corpus, tiny_pretrained, write_search
from tests.search.untrained import ROUND_COUNT, Untrained, suggest

LIVE = 4
"""Number of concurrent trials."""
SIZES = [100, 1000, 5000]
"""Default numbers of trials per search."""
WITH_RAY = 100
"""Number of trials in the search with Ray. Ray's cost per trial does not grow with the number of trials."""
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Cost:
    """The cost of a search for its driver."""

    trials: int
    suggestions: list[float]
    """Seconds per suggestion."""
    loop: float
    """Seconds of the whole search, without the time in which trials write their files."""
    resident: int
    """Resident bytes of the driver's process at the end."""
    resume: float
    """Seconds until a resumed search has suggested its first trial."""


def fresh_run(place: Path, sampler: str) -> Run:
    """Write a run directory without trials."""
    return write_search(place / "run", example_corpus(place), tasks=("sst",), rounds=ROUND_COUNT, sampler=sampler)


def resident() -> int:
    """Return the resident bytes of this process."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def search(place: Path, count: int, sampler: str) -> Cost:
    """Search in a new run directory without Ray; return the cost."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run = fresh_run(place, sampler)
    with opened_study(run, None) as study:
        trials, started = Untrained(run, study, count, live=LIVE), time.perf_counter()
        trials.train()
        loop, memory = time.perf_counter() - started - trials.write_seconds, resident()
    return Cost(count, trials.suggestion_seconds, loop, memory, 0.0)


def search_with_ray(place: Path, count: int, sampler: str) -> Cost:
    """Search in a new run directory as `search.launch` does, with very short trainings; return the cost."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    set_ray_environment(None)
    run = fresh_run(place, sampler)
    save_encoder(place / "run" / "encoder", tiny_pretrained())
    space = Space(Path(__file__), "", suggest, [])
    checked = check_space(space, example_configs(space, trials=1), run.corpus())
    with opened_study(run, None) as study, ray_cluster.started_ray(None, False), redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        driver.search(run, study, checked, Slots(LIVE, 0.5, 0), trials=count)
        return Cost(count, [], time.perf_counter() - started, resident(), 0.0)


def resume(place: Path, count: int) -> float:
    """Resume a search; return the seconds until its first suggestion."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run, started = Run.open(str(place / "run")), time.perf_counter()
    with opened_study(run, None) as study:
        Untrained(run, study, count + 1, live=LIVE).fill()
    return time.perf_counter() - started


def measure(count: int, sampler: str) -> Cost:
    """Search and resume, each in a new process; return the cost."""
    with tempfile.TemporaryDirectory() as scratch, processes() as pool:
        cost = pool.submit(search, Path(scratch), count, sampler).result()
        return replace(cost, resume=pool.submit(resume, Path(scratch), count).result())


def measure_with_ray(count: int, sampler: str) -> Cost:
    """Search with Ray in a new process; return the cost."""
    with tempfile.TemporaryDirectory() as scratch, processes() as pool:
        return pool.submit(search_with_ray, Path(scratch), count, sampler).result()


def processes() -> ProcessPoolExecutor:
    """Return a pool that runs each call in a new process."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)


def cells(name: str, cost: Cost) -> list[str]:
    """Return the cells of a table row."""
    times = cost.suggestions
    spread = [median(times), quantiles(times, n=20)[-1], max(times)] if times else []
    seconds = [f"{value:.3f}" for value in spread] or ["-"] * 3
    resume = f"{cost.resume:.1f}" if cost.resume else "-"
    return [name, *seconds, f"{cost.resident / MEBIBYTE:.0f}", resume, f"{cost.trials / cost.loop:.1f}"]


def main(
    sizes: Annotated[list[int] | None, typer.Argument(help="Number of trials of each search.")] = None,
    sampler: Annotated[str, typer.Option(help="Optuna sampler of the searches.")] = "tpe",
) -> None:
    """Print the cost of searches of several sizes, and of one search with Ray."""
    columns = ["trials", "suggestion: median s", "p95", "max", "driver, MiB", "resume, s", "trials a second"]
    table = rich.table.Table(*columns)
    for count in sizes or SIZES:
        table.add_row(*cells(str(count), measure(count, sampler)))
    table.add_row(*cells(f"{WITH_RAY}, with Ray", measure_with_ray(WITH_RAY, sampler)))
    rich.console.Console().print(table)


if __name__ == "__main__":
    typer.run(main)
