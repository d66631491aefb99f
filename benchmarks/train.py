"""How fast training is beside what others write, what SMART and surgery add to it, and how near it is to the machine.

`python -m benchmarks.train --data DIR` prints a table for each question. Loops that are compared take their steps in
turn, in one process, on the same cores, from the same weights; a loop of ours and the peers' take the same rows in the
same steps, unless a peer groups them by length. Tokens are without padding; times are medians over steps side by side.
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
"""Of what is also, or only, measured with all cores."""
LAZY = 4
"""Steps of which one has SMART."""
SEEDS = 3
SECONDS = 20.0
"""Of each trial that is measured beside another."""
Figures = dict[str, Any]
NO_ATTENTION_DROPOUT: Figures = {"attention_dropout": 0.0}
FAST: Figures = NO_ATTENTION_DROPOUT | {"precision": fastest_precision("cpu")}
"""Our fastest setting; `scores` says what it is worth."""


@dataclass(frozen=True)
class Bench:
    """What is measured on, and for how long."""

    work: Work
    steps: int
    """Of each loop of a race."""

    def race(self, title: str, loops: Mapping[str, Loop], base: str, threads: int = 1) -> Figures:
        """Take steps in turn, print how fast each loop is beside one of them, and return that."""
        torch.set_num_threads(threads)
        paces = alternate(loops, self.steps)
        shown = Table(f"{title} (threads: {threads})", "tokens/s", "times", "s a step", "times")
        found = {}
        for name, pace in paces.items():
            faster, longer = pace.faster(paces[base]), pace.times(paces[base])
            found[name] = {"tokens_per_second": pace.rate, "faster": faster, "longer": longer}
            shown.add_row(name, f"{pace.rate:,.0f}", f"{faster:.2f}", f"{pace.step:.3f}", f"{longer:.2f}")
        rich.print(shown)
        return found


def plain(bench: Bench) -> Figures:
    """Race plain multitask training with transformers, 16 rows a task; targets: 2.3 and, against grouped, 1.25."""
    ours, peer = bench.work.ours(), train_peers.peer_of(bench.work)
    loops = {
        "transformers": peer.loop(16, train_peers.as_ours, train_peers.plain),
        "transformers, grouped by length": peer.loop(16, train_peers.grouped, train_peers.plain),
        "ours": training_loop(ours, config_of()),
        "ours, no dropout of attention": training_loop(ours, config_of(**NO_ATTENTION_DROPOUT)),
        f"ours, {FAST['precision']}, the same": training_loop(ours, config_of(**FAST)),
    }
    found: Figures = {}
    for threads in (1, THREADS):
        paces = bench.race("plain training", loops, "transformers", threads)
        times = paces["ours"]["faster"] / paces["transformers, grouped by length"]["faster"]
        print(f"ours beside transformers grouped by length: {times:.2f} times as fast")
        found[str(threads)] = paces
    return found


def surgery(bench: Bench) -> Figures:
    """Race gradient surgery, 8 rows a task; target: 2.8 times the rate of the textbook's form."""
    ours, peer = bench.work.ours(), train_peers.peer_of(bench.work)
    loops = {
        "transformers, textbook PCGrad": peer.loop(8, train_peers.as_ours, train_peers.textbook_pcgrad),
        "transformers, torchjd's PCGrad": peer.loop(8, train_peers.as_ours, train_peers.torchjd_pcgrad),
        "ours, PCGrad": training_loop(ours, config_of(8, surgery="pcgrad")),
    }
    return bench.race("surgery", loops, "transformers, textbook PCGrad")


def treatments(bench: Bench) -> Figures:
    """Race what is added to a plain step; targets, times plain: PCGrad and GradVac 1.2 at 8 rows a task and 1.12 at 16,
    SMART 2.6 and 2.7, every fourth step 1.45, Bregman .4 more than SMART.
    """
    ours, smart = bench.work.ours(), SmartConfig(lambda_s=1.0)
    added: dict[str, Figures] = {
        "plain": {},
        "PCGrad": {"surgery": "pcgrad"},
        "GradVac": {"surgery": "gradvac"},
        "SMART": {"smart": smart},
        "SMART, Bregman": {"smart": smart, "bregman": BregmanConfig(mu=1.0)},
    }
    found: Figures = {}
    for rows in (8, 16):
        loops = {name: training_loop(ours, config_of(rows, **changes)) for name, changes in added.items()}
        found[str(rows)] = bench.race(f"treatments, {rows} rows a task", loops, "plain")
        lazy = {"plain": config_of(rows), "SMART": config_of(rows, smart=smart.replace(every=LAZY))}
        loops = {name: _several(training_loop(ours, config)) for name, config in lazy.items()}
        found[f"{rows}, lazy"] = bench.race(f"SMART every {LAZY}th step, {rows} rows a task", loops, "plain")
    return found


def share(bench: Bench) -> Figures:
    """Race training and evaluation with their linear maps' products alone; targets: 66 % and 72 % of whole layers'.

    "Executed" are those without what the last layer leaves out, where only [CLS] is read on.
    """
    ours, shape, base = bench.work.ours(), BertConfig(), "products of whole layers"
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
        "training": bench.race("training, 32 rows a task, no dropout of attention", training, base, THREADS),
        "evaluation": bench.race("evaluation", evaluation, base),
    }


def trials(bench: Bench) -> Figures:
    """Train with one thread: one trial, then two at once; target: 1.8 times as many tokens."""
    alone, both = [], []
    for _ in range(3):
        for count, found in ((1, alone), (2, both)):
            call = (bench.work, config_of(), SECONDS, time.time() + READY)
            found.append(sum(side_by_side(tokens_per_second, [call] * count)))
    times = statistics.median(two / one for one, two in zip(alone, both, strict=True))
    print(f"one trial {statistics.median(alone):,.0f} tokens/s, two {statistics.median(both):,.0f}: {times:.2f} times")
    return {"alone": alone, "both": both, "times": times}


def starts(bench: Bench) -> Figures:
    """Start `trainers.fit` up to its first step, tokens cached; target: 3 s."""
    with tempfile.TemporaryDirectory() as scratch:
        taken = [
            seconds_to_first_step(bench.work.data, bench.work.rows, Path(scratch) / str(number)) for number in range(5)
        ]
    print(f"from the command line to the first step: {statistics.median(taken[1:]):.1f} s")
    return {"seconds": taken[1:]}


def memory(bench: Bench) -> Figures:
    """Compare the most that a trial holds, 32 rows a task; target: SMART and PCGrad within 1.8 times plain."""
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


def growth(bench: Bench) -> Figures:
    """Train on generated data that grow in one way at a time: what a token costs, and what is held."""
    base = {"tasks": 3, "rows": 10_000, "words": 30, "batch_size": 16}
    ways = {"words": (15, 60, 120, 250), "batch_size": (4, 8, 32, 64), "tasks": (1, 2, 6), "rows": (100_000,)}
    cases = [base, *(base | {what: size} for what, sizes in ways.items() for size in sizes)]
    shown, found = Table(*base, "tokens a step", "ms a step", "us a token", "MiB"), []
    for case in cases:
        with tempfile.TemporaryDirectory() as scratch:
            data, tasks = Path(scratch) / "data", tuple(f"t{number}" for number in range(case["tasks"]))
            write_tasks(data, case["tasks"], case["rows"], case["words"])
            tokens, took, held = in_fresh_process(
                cost_of_growth, data, config_of(case["batch_size"], tasks=tasks), bench.steps
            )
        each = 1000 * took / tokens
        shown.add_row(*map(str, case.values()), f"{tokens:,.0f}", f"{took:.0f}", f"{each:.0f}", f"{held:,.0f}")
        found.append({**case, "tokens": tokens, "milliseconds": took, "mebibytes": held})
    rich.print(shown)
    return {"cases": found}


def scores(bench: Bench) -> Figures:
    """Train to the end, as the peers do and in our fastest setting: the scores on dev, which should not differ."""
    settings: dict[str, Figures] = {"float32": {}, ", ".join(f"{key} {value}" for key, value in FAST.items()): FAST}
    calls = [(bench.work, changes, seed) for changes in settings.values() for seed in range(SEEDS)]
    found = [score for pair in range(0, len(calls), 2) for score in side_by_side(final_score, calls[pair : pair + 2])]
    by_setting = {name: found[place * SEEDS : (place + 1) * SEEDS] for place, name in enumerate(settings)}
    for name, reached_by in by_setting.items():
        print(f"{name}: {statistics.mean(reached_by):.4f} ± {statistics.stdev(reached_by):.4f}", reached_by)
    return by_setting


def _several(loop: Loop) -> Loop:
    """Return a loop of as many steps as one with lazy SMART repeats itself after."""
    return lambda: sum(loop() for _ in range(LAZY))


PARTS: dict[str, Callable[[Bench], Figures]] = {
    part.__name__: part for part in (plain, surgery, treatments, share, trials, starts, memory, growth, scores)
}


def main(
    data: Annotated[Path, typer.Option(help="A directory with the course's files.")],
    parts: Annotated[list[str] | None, typer.Argument(help=f"Some of {', '.join(PARTS)}; default all.")] = None,
    rows: Annotated[int, typer.Option(min=64, help="Training rows of each task.")] = 2000,
    steps: Annotated[int, typer.Option(min=3, help="Of each loop that is compared.")] = 20,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Measure on real rows, and print a table for each question."""
    if unknown := set(parts or ()) - set(PARTS):
        raise typer.BadParameter(f"{', '.join(unknown)}. Known parts: {', '.join(PARTS)}.")
    found: Figures = {}
    for name in parts or PARTS:
        print(f"{name}: {PARTS[name].__doc__} Load {os.getloadavg()[0]:.1f}.", flush=True)
        found[name] = PARTS[name](Bench(Work(data, rows), steps))
        if out:
            out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    typer.run(main)
