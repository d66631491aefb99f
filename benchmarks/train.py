"""Compare training speed with transformers code, with SMART and surgery added, and with bare matrix products.

`python -m benchmarks.train --data DIR` prints one table per question. Compared loops run one step each in turn, in one
process, on the same cores, from the same weights. Our loop and the peers' train on the same rows in the same steps,
unless a peer groups rows by length. Tokens do not include padding. Ratios of times are medians over pairs of steps.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import rich
import torch
import typer
from rich.table import Table

from benchmarks import train_peers
from benchmarks.pace import Loop, alternate
from benchmarks.train_loops import Work, config_of, evaluation_loop, products_loop, training_loop
from benchmarks.train_processes import (
    READY,
    cost_of_growth,
    final_score,
    in_fresh_process,
    peak_memory,
    seconds_to_first_step,
    side_by_side,
    tokens_per_second,
    write_tasks,
)
from model.bert import BertConfig
from trainers.devices import fastest_precision
from trainers.methods.bregman import BregmanConfig
from trainers.methods.smart import SmartConfig

THREADS = 2
"""Number of threads in measurements with several threads."""
LAZY = 4
"""Lazy SMART is applied every `LAZY`-th step."""
SEEDS = 3
"""Number of trainings per setting in `scores`."""
SECONDS = 20.0
"""Duration of each trial in `trials`."""
Results = dict[str, Any]
NO_ATTENTION_DROPOUT: Results = {"attention_dropout": 0.0}
FAST: Results = NO_ATTENTION_DROPOUT | {"precision": fastest_precision("cpu")}
"""Our fastest setting; `scores` compares its scores with those of float32."""


@dataclass(frozen=True)
class Bench:
    """The data of all measurements, and their number of steps."""

    work: Work
    steps: int
    """Number of steps per loop."""

    def race(self, title: str, loops: Mapping[str, Loop], base: str, threads: int = 1) -> Results:
        """Run the loops in turn; print and return the speed of each one relative to the loop `base`."""
        torch.set_num_threads(threads)
        paces = alternate(loops, self.steps)
        shown = Table(f"{title} (threads: {threads})", "tokens/s", "times", "s per step", "times")
        found = {}
        for name, pace in paces.items():
            faster, longer = pace.faster(paces[base]), pace.times(paces[base])
            found[name] = {"tokens_per_second": pace.rate, "faster": faster, "longer": longer}
            shown.add_row(name, f"{pace.rate:,.0f}", f"{faster:.2f}", f"{pace.step:.3f}", f"{longer:.2f}")
        rich.print(shown)
        return found


def plain(bench: Bench) -> Results:
    """Compare plain multitask training with transformers, 16 rows per task. Targets: 2.3 times as fast, 1.25 times as
    fast as with batches grouped by length.
    """
    ours, peer = bench.work.ours(), train_peers.peer_of(bench.work)
    loops = {
        "transformers": peer.loop(16, train_peers.as_ours, train_peers.plain),
        "transformers, grouped by length": peer.loop(16, train_peers.grouped, train_peers.plain),
        "ours": training_loop(ours, config_of()),
        "ours, no attention dropout": training_loop(ours, config_of(**NO_ATTENTION_DROPOUT)),
        f"ours, {FAST['precision']}, no attention dropout": training_loop(ours, config_of(**FAST)),
    }
    found: Results = {}
    for threads in (1, THREADS):
        paces = bench.race("plain training", loops, "transformers", threads)
        times = paces["ours"]["faster"] / paces["transformers, grouped by length"]["faster"]
        print(f"Ours is {times:.2f} times as fast as transformers with batches grouped by length.")
        found[str(threads)] = paces
    return found


def surgery(bench: Bench) -> Results:
    """Compare gradient surgery, 8 rows per task. Target: 2.8 times as fast as textbook PCGrad."""
    ours, peer = bench.work.ours(), train_peers.peer_of(bench.work)
    loops = {
        "transformers, textbook PCGrad": peer.loop(8, train_peers.as_ours, train_peers.textbook_pcgrad),
        "transformers, torchjd's PCGrad": peer.loop(8, train_peers.as_ours, train_peers.torchjd_pcgrad),
        "ours, PCGrad": training_loop(ours, config_of(8, surgery="pcgrad")),
    }
    return bench.race("surgery", loops, "transformers, textbook PCGrad")


def treatments(bench: Bench) -> Results:
    """Compare treatments with plain steps. Targets, in times of a plain step: PCGrad and GradVac 1.2 with 8 rows per
    task and 1.12 with 16, SMART 2.6 and 2.7, SMART every fourth step 1.45, Bregman 0.4 more than SMART.
    """
    ours, smart = bench.work.ours(), SmartConfig(lambda_s=1.0)
    added: dict[str, Results] = {
        "plain": {},
        "PCGrad": {"surgery": "pcgrad"},
        "GradVac": {"surgery": "gradvac"},
        "SMART": {"smart": smart},
        "SMART, Bregman": {"smart": smart, "bregman": BregmanConfig(mu=1.0)},
    }
    found: Results = {}
    for rows in (8, 16):
        loops = {name: training_loop(ours, config_of(rows, **changes)) for name, changes in added.items()}
        found[str(rows)] = bench.race(f"treatments, {rows} rows per task", loops, "plain")
        lazy = {"plain": config_of(rows), "SMART": config_of(rows, smart=smart.replace(every=LAZY))}
        loops = {name: _several(training_loop(ours, config)) for name, config in lazy.items()}
        found[f"{rows}, lazy"] = bench.race(f"SMART every {LAZY}th step, {rows} rows per task", loops, "plain")
    return found


def share(bench: Bench) -> Results:
    """Compare training and evaluation with the matrix products of their linear layers. Targets: 66 % and 72 % of the
    speed of the products of all layers.

    "Executed" products leave out those that the last layer skips because only [CLS] is needed.
    """
    ours, shape, base = bench.work.ours(), BertConfig(), "products of all layers"
    training = {
        base: products_loop(shape, backward=True),
        "products executed": products_loop(shape, backward=True, cut=True),
        "ours": training_loop(ours, config_of(32, **NO_ATTENTION_DROPOUT)),
    }
    evaluation = {
        base: products_loop(shape, backward=False),
        "products executed": products_loop(shape, backward=False, cut=True),
        "ours": evaluation_loop(ours),
    }
    return {
        "training": bench.race("training, 32 rows per task, no attention dropout", training, base, THREADS),
        "evaluation": bench.race("evaluation", evaluation, base),
    }


def trials(bench: Bench) -> Results:
    """Compare one trial with two concurrent trials, one thread each. Target: 1.8 times as many tokens per second."""
    alone, both = [], []
    for _ in range(3):
        for count, found in ((1, alone), (2, both)):
            call = (bench.work, config_of(), SECONDS, time.time() + READY)
            found.append(sum(side_by_side(tokens_per_second, [call] * count)))
    times = statistics.median(two / one for one, two in zip(alone, both, strict=True))
    print(
        f"One trial: {statistics.median(alone):,.0f} tokens/s; two: {statistics.median(both):,.0f} ({times:.2f} times)"
    )
    return {"alone": alone, "both": both, "times": times}


def starts(bench: Bench) -> Results:
    """Measure the time of `trainers.fit` up to its first step, with a cached corpus. Target: 3 s."""
    with tempfile.TemporaryDirectory() as scratch:
        taken = [
            seconds_to_first_step(bench.work.data, bench.work.rows, Path(scratch) / str(number)) for number in range(5)
        ]
    print(f"Time from the command line to the first step: {statistics.median(taken[1:]):.1f} s.")
    return {"seconds": taken[1:]}


def memory(bench: Bench) -> Results:
    """Compare the peak memory of a trial, 32 rows per task. Target: SMART with PCGrad at most 1.8 times plain."""
    configs = {
        "plain": config_of(32),
        "SMART, PCGrad": config_of(32, surgery="pcgrad", smart=SmartConfig(lambda_s=1.0)),
    }
    found = {name: in_fresh_process(peak_memory, bench.work, config, 8) for name, config in configs.items()}
    times = found["SMART, PCGrad"] / found["plain"]
    print(
        f"plain {found['plain']:,.0f} MiB, with SMART and PCGrad {found['SMART, PCGrad']:,.0f} MiB: {times:.2f} times"
    )
    return {**found, "times": times}


def growth(bench: Bench) -> Results:
    """Measure time per token and memory on generated data that grow in one dimension at a time."""
    base = {"tasks": 3, "rows": 10_000, "words": 30, "batch_size": 16}
    ways = {"words": (15, 60, 120, 250), "batch_size": (4, 8, 32, 64), "tasks": (1, 2, 6), "rows": (100_000,)}
    cases = [base, *(base | {what: size} for what, sizes in ways.items() for size in sizes)]
    shown, found = Table(*base, "tokens per step", "ms per step", "us per token", "MiB"), []
    for case in cases:
        with tempfile.TemporaryDirectory() as scratch:
            data, tasks = Path(scratch) / "data", tuple(f"t{number}" for number in range(case["tasks"]))
            write_tasks(data, case["tasks"], case["rows"], case["words"])
            tokens, milliseconds, memory = in_fresh_process(
                cost_of_growth, data, config_of(case["batch_size"], tasks=tasks), bench.steps
            )
        cost = f"{milliseconds:.0f}", f"{1000 * milliseconds / tokens:.0f}", f"{memory:,.0f}"
        shown.add_row(*map(str, case.values()), f"{tokens:,.0f}", *cost)
        found.append({**case, "tokens": tokens, "milliseconds": milliseconds, "mebibytes": memory})
    rich.print(shown)
    return {"cases": found}


def scores(bench: Bench) -> Results:
    """Compare the dev scores of complete trainings in float32 and in our fastest setting. Target: no difference."""
    settings: dict[str, Results] = {"float32": {}, ", ".join(f"{key} {value}" for key, value in FAST.items()): FAST}
    calls = [(bench.work, changes, seed) for changes in settings.values() for seed in range(SEEDS)]
    found = [score for pair in range(0, len(calls), 2) for score in side_by_side(final_score, calls[pair : pair + 2])]
    by_setting = {name: found[place * SEEDS : (place + 1) * SEEDS] for place, name in enumerate(settings)}
    for name, reached_by in by_setting.items():
        print(f"{name}: {statistics.mean(reached_by):.4f} ± {statistics.stdev(reached_by):.4f}", reached_by)
    return by_setting


def _several(loop: Loop) -> Loop:
    """Return a loop whose step is `LAZY` steps of `loop`, a whole period of lazy SMART."""
    return lambda: sum(loop() for _ in range(LAZY))


PARTS: dict[str, Callable[[Bench], Results]] = {
    part.__name__: part for part in (plain, surgery, treatments, share, trials, starts, memory, growth, scores)
}


def main(
    data: Annotated[Path, typer.Option(help="A directory with the files of the course.")],
    parts: Annotated[list[str] | None, typer.Argument(help=f"Some of {', '.join(PARTS)} (default: all).")] = None,
    rows: Annotated[int, typer.Option(min=64, help="Number of training rows per task.")] = 2000,
    steps: Annotated[int, typer.Option(min=3, help="Number of steps per loop.")] = 20,
    out: Annotated[Path | None, typer.Option(help="JSON file for the results.")] = None,
) -> None:
    """Run the measurements on real rows and print one table per question."""
    if unknown := set(parts or ()) - set(PARTS):
        raise typer.BadParameter(f"{', '.join(unknown)}. Known parts: {', '.join(PARTS)}.")
    found: Results = {}
    for name in parts or PARTS:
        print(f"{name}: {PARTS[name].__doc__} Load of this machine: {os.getloadavg()[0]:.1f}.", flush=True)
        found[name] = PARTS[name](Bench(Work(data, rows), steps))
        if out:
            out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    typer.run(main)
