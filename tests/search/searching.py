"""Real searches in processes of their own, on a tiny encoder in the hub's layout."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPACE = """
from trainers.recipes.joint import plain

START = [{"learning_rate": 1e-2}, {"learning_rate": 1e-3}]

def suggest(trial):
    learning_rate = trial.suggest_float("learning_rate", 1e-6, 1e-1, log=True)
    stage = plain().stages[0].replace(learning_rate=learning_rate, passes=0.5, rounds=4, batch_size=8)
    return plain().replace(stages=(stage,))
"""


def command(space: Path, storage: Path, encoder: Path, *options: str, name: str = "run") -> list[str]:
    """Return the command line of a search."""
    fixed = ["--name", name, "--storage", str(storage), "--encoder", str(encoder)]
    return [sys.executable, "-m", "search.launch", str(space), *fixed, *options]


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a search in a session of its own, as from a terminal that nobody shares."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            arguments, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment()
        )


def finish(arguments: list[str], limit: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a search to its end."""
    return subprocess.run(arguments, capture_output=True, text=True, timeout=limit, env=environment(), check=False)


def environment() -> dict[str, str]:
    """Return the environment of a search whose process is told nothing of other Rays."""
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}


def wait_for(condition: Callable[[], Any], limit: float = 120) -> Any:
    """Wait until a condition holds and return what it found."""
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.05)
    return found


def rows(run: Path) -> list[tuple[int, dict[str, Any]]]:
    """Read (trial, row) of every line that any trial has written, repeats included."""
    files = sorted((run / "trials").glob("*/rounds.jsonl"))
    return [(int(file.parent.name), json.loads(line)) for file in files for line in file.read_text().splitlines()]
