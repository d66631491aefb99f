"""What a trial costs beside its rounds, and how busy the slots are: our search against a plain function under Tune.

`python -m benchmarks.overhead` runs both sides in turns, each in processes of its own, and prints medians.

Ours is the product's command on the generated sample; the peer (`overhead_peer`) is a function trainable that loads
and tokenises in every trial, under Tune's defaults. Both train configs of `overhead_space` for equally many steps. A
round's work is training, evaluating and saving. The fixed cost of a trial is what passes on its slot from the last
round of the trial before to its own first step: the end of the one, the suggestion, the worker, the model.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import rich
import typer
from rich.table import Table

from benchmarks import overhead_space
from benchmarks.overhead_peer import ROUNDS_FILE, ROWS
from benchmarks.whole import ENVIRONMENT
from benchmarks.whole_data import NAMES
from search.runs.run import Run
from trainers.data.generated_sample import sample_corpus
from trainers.data.stratified import sample_training_rows

SLOTS, LAYERS = 2, 2
FIXED, BUSY = 0.5, 0.95
"""Targets: seconds of a trial beside its rounds; the share of slot time that rounds have."""


@dataclass(frozen=True)
class Round:
    """When a round worked, in seconds since 1970."""

    begun: float
    ended: float


@dataclass(frozen=True)
class Figures:
    """What one run of a side shows."""

    fixed: float
    """Median seconds from a trial's end to the first step of the next on its slot."""
    between: float
    """Median seconds from a round's end to the next round of the same trial."""
    trial: float
    """Median seconds that the rounds of a trial work."""
    busy: float
    """Share of the slots' time in rounds, from each slot's first step until the last trial is handed out."""


def main(
    trials: Annotated[int, typer.Option(min=4, help="Of each run.")] = 16,
    rows: Annotated[int, typer.Option(min=8, help="Training rows of each task.")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each side, in turns.")] = 3,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Run both sides in turns, and print the medians of their figures."""
    found: dict[str, list[Figures]] = defaultdict(list)
    for _ in range(repeats):
        for side, run in SIDES.items():
            with tempfile.TemporaryDirectory(prefix="overhead-") as home:
                found[side].append(figures(run(Path(home), trials, rows), SLOTS))
    medians = {
        side: {name: statistics.median(getattr(one, name) for one in all_of) for name in Figures.__annotations__}
        for side, all_of in found.items()
    }
    shown = Table("median of runs", "ours", "peer", "peer / ours", title=f"{trials} trials on {SLOTS} slots")
    for name, ours in medians["ours"].items():
        peer = medians["peer"][name]
        shown.add_row(name, f"{ours:.3f}", f"{peer:.3f}", f"{peer / ours:.2f}")
    fixed, busy = medians["ours"]["fixed"], medians["ours"]["busy"]
    rich.print(shown, f"Load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")
    rich.print(f"Fixed cost {fixed:.2f} s, target {FIXED} s; busy {busy:.1%}, target {BUSY:.0%}.")
    if out:
        out.write_text(json.dumps(medians, indent=2))


def run_ours(home: Path, trials: int, rows: int) -> list[list[Round]]:
    """Search with the product's command; its rows tell when they ended and for how long they worked."""
    options = {"name": "ours", "storage": home, "data": "sample", "rows": rows, "encoder": f"minilm:{LAYERS}"}
    options |= {"trials": trials, "concurrency": SLOTS, "gpus-per-trial": 0, "trial-scheduler": "none"}
    _call("search.launch", str(overhead_space.__file__), **options)
    return [
        [
            Round(ended - row["train_seconds"] - row["eval_seconds"] - row["save_seconds"], ended)
            for row in trial.rows
            for ended in [datetime.fromisoformat(row["ended"]).timestamp()]
        ]
        for trial in Run.open("ours", str(home)).trials()
    ]


def run_peer(home: Path, trials: int, rows: int) -> list[list[Round]]:
    """Search with Tune's defaults over the same rows."""
    splits = sample_training_rows(sample_corpus(), rows, 0).splits
    texts = {
        f"{task} {split}": {
            "ids": splits[task][split].ids,
            "texts": splits[task][split].texts,
            "labels": splits[task][split].labels.tolist(),
        }
        for task in NAMES
        for split in ("train", "dev")
    }
    (home / ROWS).write_text(json.dumps(texts))
    _call("benchmarks.overhead_peer", str(home), trials=trials, slots=SLOTS, layers=LAYERS)
    found: dict[str, list[Round]] = defaultdict(list)
    for line in (home / ROUNDS_FILE).read_text().splitlines():
        noted = json.loads(line)
        found[noted["trial"]].append(Round(noted["begun"], noted["ended"]))
    return list(found.values())


SIDES: dict[str, Callable[[Path, int, int], list[list[Round]]]] = {"ours": run_ours, "peer": run_peer}


def figures(trials: list[list[Round]], slots: int) -> Figures:
    """Lay the trials out on their slots: each took the one that had been free for longest.

    Args:
        trials: the rounds of each.
    """
    trials = sorted(trials, key=lambda rounds: rounds[0].begun)
    taken: list[list[list[Round]]] = [[] for _ in range(slots)]
    for rounds in trials:
        min(taken, key=lambda slot: slot[-1][-1].ended if slot else 0.0).append(rounds)
    over = trials[-1][0].begun
    worked = sum(max(0.0, min(one.ended, over) - one.begun) for rounds in trials for one in rounds)
    there = sum(max(0.0, min(slot[-1][-1].ended, over) - slot[0][0].begun) for slot in taken)
    return Figures(
        statistics.median(next_[0].begun - last[-1].ended for slot in taken for last, next_ in pairwise(slot)),
        statistics.median(second.begun - one.ended for rounds in trials for one, second in pairwise(rounds)),
        statistics.median(sum(one.ended - one.begun for one in rounds) for rounds in trials),
        worked / there,
    )


def _call(module: str, place: str, **options: object) -> None:
    """Run a module of this project in a process of its own."""
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    subprocess.run(
        [sys.executable, "-m", module, place, *flags],
        env={**os.environ, **ENVIRONMENT},
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    typer.run(main)
