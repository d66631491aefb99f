"""Compare how much compute our search and other searches need to come close to the best config, on recorded trainings.

`python -m benchmarks.efficiency` prints compute and regret of each search. `surface` recorded the trials.
On a virtual clock, a round takes the median time of all recorded rounds with the same work. All searches have the same
space and number of workers; the other searches run their own code with their own defaults. Ours begins without
points of its own (START) and continues no stopped trial, because no search ends. The unit of compute is one full
training of an average config.
"""

import heapq
import itertools
import logging
import math
import statistics
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
import optuna
import plotly.graph_objects as go
import torch
import typer
from plotly.colors import DEFAULT_PLOTLY_COLORS
from rich.console import Console
from rich.table import Table

from benchmarks.efficiency_searches import SEARCHES, Point, Search
from benchmarks.surface import GRID, read_surface

WIDTH = 140
"""Width of the printed tables in characters."""
LIMIT = 200.0
"""Full trainings after which a search ends."""
AT = [5, 10, 20, 40, 80]
"""Full trainings after which the regret is printed."""
TARGETS = {"random + ASHA": 1.3, "OptunaSearch + ASHA": 1.1}
"""Search -> the smallest factor by which its compute should exceed ours."""


@dataclass(frozen=True)
class Curve:
    """A recorded training: score and seconds of each round."""

    scores: list[float]
    seconds: list[float]


@cache
def surface() -> dict[Point, Curve]:
    """Return the recorded trainings; a round takes the median time of all rounds with the same work."""
    table = read_surface()
    work = ["batch_schedule", "batch_size", "lambda_s", "round"]
    table["seconds"] = table["train_seconds"] + table["eval_seconds"]
    table["seconds"] = table.groupby(work)["seconds"].transform("median")
    found = {}
    for _, rows in table.sort_values("round").groupby("trial"):
        found[tuple(rows.iloc[0][list(GRID)])] = Curve(rows["score"].tolist(), rows["seconds"].tolist())
    return found


def progress(search: Search, curves: dict[Point, Curve], workers: int) -> Iterator[tuple[float, float]]:
    """Run a search on a virtual clock until it finds the best config or reaches `LIMIT`.

    Yields:
        The compute so far in full trainings and the regret, after each round that lowers the regret.
    """
    full = statistics.mean(sum(curve.seconds) for curve in curves.values())
    best = max(max(curve.scores) for curve in curves.values())
    numbers, regret = itertools.count(), math.inf
    clock: list[tuple[float, int, int, Point]] = []

    def start(now: float) -> None:
        number = next(numbers)
        point = search.suggest(number)
        heapq.heappush(clock, (now + curves[point].seconds[0], number, 1, point))

    for _ in range(workers):
        start(0.0)
    while regret > 0:
        now, number, round, point = heapq.heappop(clock)
        compute, score = now * workers / full, curves[point].scores[round - 1]
        if compute > LIMIT:
            return
        if best - score < regret:
            regret = best - score
            yield compute, regret
        if search.report(number, round, score):
            heapq.heappush(clock, (now + curves[point].seconds[round], number, round + 1, point))
        else:
            start(now)


def run(task: tuple[str, int, int]) -> list[tuple[float, float]]:
    """Run a search; `task` is (name in `SEARCHES`, seed, number of workers). Return the steps of `progress`."""
    name, seed, workers = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("ray").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(progress(SEARCHES[name](seed), surface(), workers))


def reached(steps: Sequence[tuple[float, float]], close: float) -> float:
    """Return the full trainings until the regret is at most `close`; infinity if it never is."""
    return next((compute for compute, regret in steps if regret <= close), math.inf)


def regret_at(steps: Sequence[tuple[float, float]], compute: float) -> float:
    """Return the regret after `compute` full trainings; NaN before the first round."""
    return min((regret for at, regret in steps if at <= compute), default=math.nan)


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs per search.")] = 50,
    workers: Annotated[int, typer.Option(min=1, help="Number of concurrent trials.")] = 4,
    close: Annotated[float, typer.Option(help="Regret at which a search counts as successful.")] = 0.005,
    only: Annotated[list[str] | None, typer.Option(help="Searches to run (default: all).")] = None,
    figure: Annotated[Path | None, typer.Option(help="HTML file for the plot of the regret.")] = None,
) -> None:
    """Run the searches and print compute and regret."""
    curves = surface()
    names = only or list(SEARCHES)
    tasks = [(name, seed, workers) for name in names for seed in range(seeds)]
    found: dict[str, list[list[tuple[float, float]]]] = defaultdict(list)
    with ProcessPoolExecutor(initializer=partial(torch.set_num_threads, 1)) as pool:
        for (name, _, _), steps in zip(tasks, pool.map(run, tasks), strict=True):
            found[name].append(steps)
    best = max(max(curve.scores) for curve in curves.values())
    near = sum(max(curve.scores) >= best - close for curve in curves.values())
    print(
        f"{len(curves)} configs, best score {best:.4f}, {near} within {close} of it; {workers} workers, {seeds} seeds"
    )
    print("The unit of compute is one full training of an average config. Cells show median (first to third quartile).")
    Console(width=WIDTH).print(_computes(found, close), _regrets(found))
    if figure:
        _curves(found).write_html(figure, include_plotlyjs=True)


def _computes(found: dict[str, list[list[tuple[float, float]]]], close: float) -> Table:
    table = Table("search", f"compute until regret {close}", "mean", f"times that of {next(iter(found))}", "target")
    first = None
    for name, runs in found.items():
        computes = [min(reached(steps, close), LIMIT) for steps in runs]
        middle = statistics.median(computes)
        first = first or middle
        target = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        table.add_row(
            name, _spread(computes, ".1f"), f"{statistics.mean(computes):.1f}", f"{middle / first:.2f}", target
        )
    return table


def _regrets(found: dict[str, list[list[tuple[float, float]]]]) -> Table:
    table = Table("regret after", *(f"{compute}" for compute in AT))
    for name, runs in found.items():
        table.add_row(name, *(_spread([regret_at(steps, compute) for steps in runs], ".3f") for compute in AT))
    return table


def _spread(values: Sequence[float], form: str) -> str:
    low, middle, high = np.nanpercentile(values, [25, 50, 75])
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def _curves(found: dict[str, list[list[tuple[float, float]]]]) -> go.Figure:
    """Plot the median regret of each search with a band from the first to the third quartile."""
    figure, computes = go.Figure(), np.geomspace(1, AT[-1], 100)
    for (name, runs), colour in zip(found.items(), itertools.cycle(DEFAULT_PLOTLY_COLORS)):
        regrets = np.array([[regret_at(steps, compute) for compute in computes] for steps in runs])
        low, middle, high = np.nanpercentile(regrets, [25, 50, 75], axis=0)
        look = {"mode": "lines", "legendgroup": name, "line_color": colour}
        figure.add_scatter(x=computes, y=middle, name=name, **look)
        figure.add_scatter(x=computes, y=low, showlegend=False, line_width=0, **look)
        figure.add_scatter(x=computes, y=high, showlegend=False, line_width=0, fill="tonexty", **look)
    return figure.update_layout(xaxis={"title": "full trainings", "type": "log"}, yaxis_title="regret")


if __name__ == "__main__":
    typer.run(main)
