"""Which search comes close to the best config with the least compute: ours and others', on recorded trainings.

`python -m benchmarks.efficiency` prints the compute and the regret of each. Their trials are those of `surface`; a
virtual clock makes each round take what rounds with the same work took, in the median. All searches draw from the same
space for equally many workers, and the others run their own code under their own defaults. Compute is counted in full
trainings of an average config.
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
"""Columns of the tables."""
LIMIT = 200.0
"""Full trainings after which a search is given up."""
AT = [5, 10, 20, 40, 80]
"""Full trainings after which the regret is shown."""
TARGETS = {"random + ASHA": 1.3, "OptunaSearch + ASHA": 1.1}


@dataclass(frozen=True)
class Curve:
    """A recorded training: what its rounds scored, and how many seconds each took."""

    scores: list[float]
    seconds: list[float]


@cache
def surface() -> dict[Point, Curve]:
    """Return what was trained; a round takes the median of all configs that do the same work in it."""
    table = read_surface()
    work = ["batch_schedule", "batch_size", "lambda_s", "round"]
    table["seconds"] = table["train_seconds"] + table["eval_seconds"]
    table["seconds"] = table.groupby(work)["seconds"].transform("median")
    found = {}
    for _, rows in table.sort_values("round").groupby("trial"):
        found[tuple(rows.iloc[0][list(GRID)])] = Curve(rows["score"].tolist(), rows["seconds"].tolist())
    return found


def progress(search: Search, curves: dict[Point, Curve], workers: int) -> Iterator[tuple[float, float]]:
    """Run a search on a virtual clock until it has found the best or used `LIMIT` up.

    Yields:
        Full trainings until then and the regret, at each round that lowers it.
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
        if search.told(number, round, score):
            heapq.heappush(clock, (now + curves[point].seconds[round], number, round + 1, point))
        else:
            start(now)


def run(task: tuple[str, int, int]) -> list[tuple[float, float]]:
    """Run a search of `SEARCHES` under a seed with so many workers."""
    name, seed, workers = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("ray").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(progress(SEARCHES[name](seed), surface(), workers))


def reached(steps: Sequence[tuple[float, float]], close: float) -> float:
    """Return the full trainings until the regret was so small; infinity if it never was."""
    return next((compute for compute, regret in steps if regret <= close), math.inf)


def regret_at(steps: Sequence[tuple[float, float]], compute: float) -> float:
    """Return the regret after so many full trainings; before the first round NaN."""
    return min((regret for at, regret in steps if at <= compute), default=math.nan)


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each search.")] = 50,
    workers: Annotated[int, typer.Option(min=1, help="Trials at once.")] = 4,
    close: Annotated[float, typer.Option(help="Regret at which a search has arrived.")] = 0.005,
    only: Annotated[list[str] | None, typer.Option(help="Searches to run; all by default.")] = None,
    figure: Annotated[Path | None, typer.Option(help="An HTML file for the curves of regret.")] = None,
) -> None:
    """Run the searches, and print what they needed."""
    curves = surface()
    names = only or list(SEARCHES)
    tasks = [(name, seed, workers) for name in names for seed in range(seeds)]
    found: dict[str, list[list[tuple[float, float]]]] = defaultdict(list)
    with ProcessPoolExecutor(initializer=partial(torch.set_num_threads, 1)) as pool:  # Gaussian processes are torch's
        for (name, _, _), steps in zip(tasks, pool.map(run, tasks), strict=True):
            found[name].append(steps)
    best = max(max(curve.scores) for curve in curves.values())
    near = sum(max(curve.scores) >= best - close for curve in curves.values())
    print(
        f"{len(curves)} configs, best score {best:.4f}, {near} within {close} of it; {workers} workers, {seeds} seeds"
    )
    print("Compute is in full trainings of an average config; medians, and quartiles in brackets.")
    Console(width=WIDTH).print(_computes(found, close), _regrets(found))
    if figure:
        _curves(found).write_html(figure, include_plotlyjs=True)


def _computes(found: dict[str, list[list[tuple[float, float]]]], close: float) -> Table:
    table = Table("search", f"compute to come within {close}", "mean", f"times that of {next(iter(found))}", "target")
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
    """Draw the median regret of each search, and its quartiles as a band."""
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
