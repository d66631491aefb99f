"""The measurements of `benchmarks.train` in separate processes: start, memory, concurrent trials, growth, scores."""

import multiprocessing
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.pace import WARM
from benchmarks.train_loops import ENCODER, Work, training_loop
from benchmarks.whole_data import NAMES
from trainers.config.train_config import Stage, TrainConfig
from trainers.training.training import Training

READY = 30.0
"""Seconds that a process needs to read its data and run its first steps."""
WORDS = "the a film is good bad and it was not very long story with some people"


def in_fresh_process(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function in a new process."""
    return side_by_side(function, [given])[0]


def side_by_side(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call a function several times concurrently, each in a new process."""
    with ProcessPoolExecutor(len(calls), multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        return [future.result() for future in [pool.submit(function, *call) for call in calls]]


def tokens_per_second(work: Work, config: TrainConfig, seconds: float, begin: float, device: str = "cpu") -> float:
    """Train with one thread; return tokens per second.

    Args:
        seconds: duration of the measurement.
        begin: its begin in seconds since 1970, equal in all concurrent processes.
    """
    torch.set_num_threads(1)
    loop = training_loop(work.ours(), config, device)
    for _ in range(WARM):
        loop()
    if time.time() > begin:
        raise RuntimeError(f"the process was ready {time.time() - begin:.1f} s too late to run with the others")
    time.sleep(begin - time.time())
    tokens, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        tokens += loop()
        if device == "cuda":
            torch.cuda.synchronize()
    return tokens / (time.perf_counter() - started)


def peak_memory(work: Work, config: TrainConfig, steps: int) -> float:
    """Train some steps with one thread; return the peak memory of the process in MiB."""
    torch.set_num_threads(1)
    loop = training_loop(work.ours(), config)
    for _ in range(steps):
        loop()
    return _peak_memory()


def cost_of_growth(data: Path, config: TrainConfig, steps: int) -> tuple[float, float, float]:
    """Train some steps with one thread; return tokens per step, CPU milliseconds per step and peak memory in MiB."""
    torch.set_num_threads(1)
    loop = training_loop(Work(data, 10**9).ours(), config)
    for _ in range(WARM):
        loop()
    started = time.process_time()
    tokens = sum(loop() for _ in range(steps))
    return tokens / steps, 1000 * (time.process_time() - started) / steps, _peak_memory()


def final_score(work: Work, changes: dict[str, Any], seed: int) -> float:
    """Run a whole training with one thread; return the dev score."""
    torch.set_num_threads(1)
    stage = Stage(tasks=NAMES, batch_schedule="simultaneous", batch_size=8, passes=1.5, learning_rate=1e-4)
    config = TrainConfig(encoder=ENCODER, stages=(stage,), seed=seed, **changes)
    *_, last = Training(config, *work.ours())
    if last.score is None:
        raise RuntimeError(f"the training with {changes} and seed {seed} ended without a score")
    return last.score


def seconds_to_first_step(data: Path, rows: int, out: Path) -> float:
    """Return the seconds from the start of `trainers.fit` to its first step."""
    began = time.monotonic()
    asked = ["plain", "--data", str(data), "--rows", str(rows), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train_start", *asked], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1]) - began


def write_tasks(directory: Path, tasks: int, rows: int, words: int) -> None:
    """Write a data directory of generated sentences.

    Args:
        tasks: number of declared tasks.
        rows: number of training rows per task.
        words: number of words per sentence.
    """
    directory.mkdir()
    draw = np.random.default_rng(0)
    vocabulary = np.array(WORDS.split())
    declared = []
    for number in range(tasks):
        files = {split: f"t{number}-{split}.tsv" for split in ("train", "dev")}
        for split, count in (("train", rows), ("dev", 8)):
            texts = (" ".join(text) for text in vocabulary[draw.integers(len(vocabulary), size=(count, words))])
            lines = (f"{split}{row}\t{text}\t{row % 2}\n" for row, text in enumerate(texts))
            (directory / files[split]).write_text("id\ttext\tlabel\n" + "".join(lines))
        columns = '"text_columns": ["text"], "label_column": "label"'
        paths = f'{{"train": "{files["train"]}", "dev": "{files["dev"]}"}}'
        declared.append(f'"t{number}": {{"kind": "binary", "low": 0, "high": 1, {columns}, "files": {paths}}}')
    (directory / "tasks.json").write_text("{" + ", ".join(declared) + "}")


def _peak_memory() -> float:
    """Return the peak memory of this process in MiB; `getrusage` would include that of its parent process."""
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes) / 1024
