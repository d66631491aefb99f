"""Measure the time of a trial outside its rounds, and the use of the slots: our search against plain Ray Tune.

`python -m benchmarks.overhead` runs both sides in turn, in separate processes, and prints medians.

Our side is `search.launch` on the generated sample. The peer (`overhead_peer`) is a function trainable that loads and
tokenises the data in every trial, with Tune's defaults. Both train configs of `overhead_space` for equally many steps.
The work of a round is training, evaluation and saving. The fixed cost of a trial is the time on its slot between the
last round of the trial before it and its own first step: the end of that trial, the suggestion, the worker, the model.
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
"""Targets: fixed seconds per trial; share of the slots' time in rounds."""


@dataclass(frozen=True)
class Round:
    """Begin and end of a round, in seconds since 1970."""

    begun: float
    ended: float


@dataclass(frozen=True)
class Overhead:
    """The results of one run of a side."""

    fixed: float
    """Median seconds from the end of a trial to the first step of the next trial on its slot."""
    between: float
    """Median seconds from the end of a round to the next round of the same trial."""
    trial: float
    """Median seconds in the rounds of a trial."""
    busy: float
    """Share of the slots' time in rounds, from each slot's first step until the last trial starts."""


def main(
    trials: Annotated[int, typer.Option(min=4, help="Number of trials per run.")] = 16,
    rows: Annotated[int, typer.Option(min=8, help="Number of training rows per task.")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="Number of runs per side.")] = 3,
    out: Annotated[Path | None, typer.Option(help="JSON file for the results.")] = None,
) -> None:
    """Run both sides in turn and print the medians of their results."""
    found: dict[str, list[Overhead]] = defaultdict(list)
    for _ in range(repeats):
        for side, run in SIDES.items():
            with tempfile.TemporaryDirectory(prefix="overhead-") as home:
                found[side].append(overhead(run(Path(home), trials, rows), SLOTS))
    medians = {
        side: {name: statistics.median(getattr(one, name) for one in all_of) for name in Overhead.__annotations__}
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
    """Search with `search.launch`; return the rounds of each trial."""
    options = {"name": "ours", "storage": home, "data": "sample", "rows": rows, "encoder": f"minilm:{LAYERS}"}
    options |= {"trials": trials, "concurrency": SLOTS, "gpus-per-trial": 0, "trial-scheduler": "none"}
    _call("search.launch", str(overhead_space.__file__), **options)
    return [
        [
            Round(ended - row.seconds, ended)
            for row in trial.rows
            for ended in [datetime.fromisoformat(row.ended).timestamp()]
        ]
        for trial in Run.open("ours", str(home)).trials()
    ]


def run_peer(home: Path, trials: int, rows: int) -> list[list[Round]]:
    """Search with Tune's defaults on the same rows; return the rounds of each trial."""
    splits = sample_training_rows(sample_corpus(), rows, 0).splits
    texts = {
        f"{task} {split}": {
            "ids": list(splits[task][split].ids),
            "texts": [list(side) for side in splits[task][split].texts],
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


def overhead(trials: list[list[Round]], slots: int) -> Overhead:
    """Return the overhead of a run; each trial is assigned to the slot that has been free for the longest time.

    Args:
        trials: the rounds of each trial.
        slots: number of slots.
    """
    trials = sorted(trials, key=lambda rounds: rounds[0].begun)
    taken: list[list[list[Round]]] = [[] for _ in range(slots)]
    for rounds in trials:
        min(taken, key=lambda slot: slot[-1][-1].ended if slot else 0.0).append(rounds)
    over = trials[-1][0].begun
    worked = sum(max(0.0, min(one.ended, over) - one.begun) for rounds in trials for one in rounds)
    there = sum(max(0.0, min(slot[-1][-1].ended, over) - slot[0][0].begun) for slot in taken)
    return Overhead(
        statistics.median(next_[0].begun - last[-1].ended for slot in taken for last, next_ in pairwise(slot)),
        statistics.median(second.begun - one.ended for rounds in trials for one, second in pairwise(rounds)),
        statistics.median(sum(one.ended - one.begun for one in rounds) for rounds in trials),
        worked / there,
    )


def _call(module: str, place: str, **options: object) -> None:
    """Run a module of this project in a new process."""
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    subprocess.run(
        [sys.executable, "-m", module, place, *flags],
        env={**os.environ, **ENVIRONMENT},
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    typer.run(main)
