"""What `tests.bench.train` measures in processes of their own: starts, memory, trials side by side, growth, scores."""

import multiprocessing
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.bench.pace import WARM
from tests.bench.train_loops import ENCODER, Work, trained
from tests.bench.whole_data import NAMES
from trainers.config import Stage, TrainConfig
from trainers.train import Training

MEBIBYTE = 2**20
WORDS = "the a film is good bad and it was not very long story with some people"


def apart(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function in a fresh process."""
    return side_by_side(function, [given])[0]


def side_by_side(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call a function several times at once, each in a fresh process."""
    with ProcessPoolExecutor(len(calls), multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        return [future.result() for future in [pool.submit(function, *call) for call in calls]]


def paced(work: Work, config: TrainConfig, seconds: float) -> float:
    """Train for a while with one thread; return useful tokens a second."""
    torch.set_num_threads(1)
    loop = trained(work.ours(), config)
    for _ in range(WARM):
        loop()
    tokens, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        tokens += loop()
    return tokens / (time.perf_counter() - started)


def peak(work: Work, config: TrainConfig, steps: int) -> float:
    """Train some steps with one thread; return the most MiB that the process has held."""
    torch.set_num_threads(1)
    loop = trained(work.ours(), config)
    for _ in range(steps):
        loop()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEBIBYTE


def grown(data: Path, config: TrainConfig, steps: int) -> tuple[float, float, float]:
    """Train some steps with one thread; return tokens of a step, its milliseconds of CPU, and the most MiB held."""
    torch.set_num_threads(1)
    loop = trained(Work(data, 10**9).ours(), config)
    taken: list[tuple[int, float]] = []
    for _ in range(WARM + steps):
        started = time.process_time()
        taken.append((loop(), time.process_time() - started))
    tokens, seconds = zip(*taken[WARM:], strict=True)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEBIBYTE
    return statistics.mean(tokens), 1000 * statistics.median(seconds), held


def reached(work: Work, changes: dict[str, Any], seed: int) -> float:
    """Train to the end with one thread; return the score on dev."""
    torch.set_num_threads(1)
    stage = Stage(tasks=NAMES, batch_schedule="simultaneous", batch_size=8, passes=1.5, learning_rate=1e-4)
    config = TrainConfig(encoder=ENCODER, stages=(stage,), seed=seed, **changes)
    *_, last = Training(config, *work.ours())
    return float(last.score or 0.0)


def started(data: Path, rows: int, out: Path) -> float:
    """Return the seconds from a command line of `trainers.fit` to its first step."""
    began = time.monotonic()
    asked = ["plain", "--data", str(data), "--rows", str(rows), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.train_start", *asked], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1]) - began


def write_task(directory: Path, tasks: int, rows: int, words: int) -> None:
    """Write data of generated sentences: so many tasks, declared, of so many training rows of so many words."""
    directory.mkdir()
    draw = np.random.default_rng(0)
    vocabulary = np.array(WORDS.split())
    declared = []
    for number in range(tasks):
        files = {"train": f"t{number}-train.tsv", "dev": f"t{number}-dev.tsv"}
        for split, count in (("train", rows), ("dev", 8)):
            texts = (" ".join(text) for text in vocabulary[draw.integers(len(vocabulary), size=(count, words))])
            lines = (f"{row}\t{text}\t{row % 2}\n" for row, text in enumerate(texts))
            (directory / files[split]).write_text("id\ttext\tlabel\n" + "".join(lines))
        columns = '"text_columns": ["text"], "label_column": "label"'
        paths = f'{{"train": "{files["train"]}", "dev": "{files["dev"]}"}}'
        declared.append(f'"t{number}": {{"kind": "binary", "low": 0, "high": 1, {columns}, "files": {paths}}}')
    (directory / "tasks.json").write_text("{" + ", ".join(declared) + "}")
