"""What the driver itself costs: the real searcher, early stopping, journal and run directory, trials that do not train.

`python -m benchmarks.driver` prints a row for each size of a search.
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
from search.suggest.space import Space, check_space, tried_configs
from search.tune import driver, ray_cluster
from search.tune.ray_environment import set_ray_environment
from search.tune.slots import Slots
from tests.search.example_run import example_corpus, tiny_pretrained, write_search
from tests.search.untrained import ROUND_COUNT, Untrained, suggest

LIVE = 4
"""Trials at once."""
SIZES = [100, 1000, 5000]
WITH_RAY = 100
"""Trials of the search that Ray runs: it adds to their time, but nothing that grows with their number."""
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Cost:
    """What a search of so many trials cost its driver."""

    trials: int
    suggestions: list[float]
    """Seconds of each."""
    loop: float
    """Seconds of the whole search, without what the trials themselves write."""
    resident: int
    """Bytes of the driver's process at the end."""
    resume: float
    """Seconds until a resumed search has suggested its first trial."""


def fresh_run(place: Path, sampler: str) -> Run:
    """Write a run directory without trials."""
    return write_search(place / "run", example_corpus(place), tasks=("sst",), rounds=ROUND_COUNT, sampler=sampler)


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def search(place: Path, count: int, sampler: str) -> Cost:
    """Search in a fresh directory."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run = fresh_run(place, sampler)
    with opened_study(run, None) as study:
        trials, started = Untrained(run, study, count, live=LIVE), time.perf_counter()
        trials.train()
        loop, held = time.perf_counter() - started - trials.written, resident()
    return Cost(count, trials.suggestions, loop, held, 0.0)


def search_with_ray(place: Path, count: int, sampler: str) -> Cost:
    """Search in a fresh directory as `launch` does, with trials that train, as little as can be."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    set_ray_environment(None)
    run = fresh_run(place, sampler)
    save_encoder(place / "run" / "encoder", tiny_pretrained())
    space = Space(Path(__file__), "", suggest, [])
    checked = check_space(space, tried_configs(space, trials=1), run.corpus())
    with opened_study(run, None) as study, ray_cluster.started_ray(None, False), redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        driver.search(run, study, checked, Slots(LIVE, 0.5, 0), trials=count)
        return Cost(count, [], time.perf_counter() - started, resident(), 0.0)


def resume(place: Path, count: int) -> float:
    """Go on with a search; return the seconds until its first suggestion."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run, started = Run.open(str(place / "run")), time.perf_counter()
    with opened_study(run, None) as study:
        Untrained(run, study, count + 1, live=LIVE).fill()
    return time.perf_counter() - started


def measure(count: int, sampler: str) -> Cost:
    """Search, then resume, each in a process of its own, as they are."""
    with tempfile.TemporaryDirectory() as scratch, processes() as pool:
        cost = pool.submit(search, Path(scratch), count, sampler).result()
        return replace(cost, resume=pool.submit(resume, Path(scratch), count).result())


def measure_with_ray(count: int, sampler: str) -> Cost:
    """Search with Ray in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch, processes() as pool:
        return pool.submit(search_with_ray, Path(scratch), count, sampler).result()


def processes() -> ProcessPoolExecutor:
    """Return a pool that gives every call a process of its own."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)


def cells(name: str, cost: Cost) -> list[str]:
    """Return a row of the table."""
    times = cost.suggestions
    spread = [median(times), quantiles(times, n=20)[-1], max(times)] if times else []
    seconds = [f"{value:.3f}" for value in spread] or ["-"] * 3
    resume = f"{cost.resume:.1f}" if cost.resume else "-"
    return [name, *seconds, f"{cost.resident / MEBIBYTE:.0f}", resume, f"{cost.trials / cost.loop:.1f}"]


def main(
    sizes: Annotated[list[int] | None, typer.Argument(help="Trials of each search.")] = None,
    sampler: Annotated[str, typer.Option(help="Who suggests.")] = "tpe",
) -> None:
    """Print what searches of several sizes cost, and what one with Ray does."""
    columns = ["trials", "suggestion: median s", "p95", "max", "driver, MiB", "resume, s", "trials a second"]
    table = rich.table.Table(*columns)
    for count in sizes or SIZES:
        table.add_row(*cells(str(count), measure(count, sampler)))
    table.add_row(*cells(f"{WITH_RAY}, with Ray", measure_with_ray(WITH_RAY, sampler)))
    rich.console.Console().print(table)


if __name__ == "__main__":
    typer.run(main)
