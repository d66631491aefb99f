"""Run searches as a user does, in a new process or in the process of the tests, and read what they wrote."""

import io
import json
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.waiting import LIMIT_SECONDS
from trainers.training.rounds import RoundRow

SPACE = """
from trainers.recipes.joint import plain

START = [{"learning_rate": 1e-2}, {"learning_rate": 1e-3}]

def suggest(trial):
    learning_rate = trial.suggest_float("learning_rate", 1e-6, 1e-1, log=True)
    stage = plain().stages[0].replace(learning_rate=learning_rate, passes=0.5, rounds=4, batch_size=8)
    return plain().replace(stages=(stage,))
"""


def command(space: Path, storage: Path, encoder: Path, *options: str, name: str = "run") -> list[str]:
    """Return the command line that starts a search."""
    fixed = ["--name", name, "--storage", str(storage), "--encoder", str(encoder)]
    return [sys.executable, "-m", "search.launch", str(space), *fixed, *options]


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command in a new process session, as in a new terminal."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            arguments, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment()
        )


def finish(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a new process, and wait until it ends."""
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=LIMIT_SECONDS, env=environment(), check=False
    )


def finish_here(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ...` in this process until it ends. Tests use the fixture of the same name."""
    python, option, module, *rest = arguments
    assert option == "-m", python
    code, out, err = 0, io.StringIO(), io.StringIO()
    with restored_environment(), redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", [module, *rest]):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextmanager
def restored_environment() -> Iterator[None]:
    """Restore environment variables and signal handlers at the end, because a command changes them in this process."""
    variables = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with warnings.catch_warnings():  # runpy warns of a module that was imported before
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def environment() -> dict[str, str]:
    """Return the environment variables for a command in a new process, without the settings of Ray."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}


def study_trials(run: Path) -> list[optuna.trial.FrozenTrial]:
    """Read the trials of a run's study."""
    storage = JournalStorage(JournalFileBackend(str(run / "study.journal")))
    return optuna.load_study(study_name=run.name, storage=storage).get_trials()


def rows(run: Path) -> list[tuple[int, RoundRow]]:
    """Read (trial, row) from each line of all `rounds.jsonl` files, including rows of repeated rounds."""
    files = sorted((run / "trials").glob("*/rounds.jsonl"))
    lines = [(int(file.parent.name), line) for file in files for line in file.read_text().splitlines()]
    return [(number, RoundRow.from_entries(json.loads(line))) for number, line in lines]
