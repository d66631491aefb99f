"""Test that Ctrl-C ends a command without a traceback from its first moment on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import LIMIT_SECONDS

ROOT = Path(__file__).parents[2]
SLOW = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
"""A module that is found in place of the first library that every command imports."""
COMMANDS = [
    "search.launch",
    "search.report",
    "search.dashboard",
    "search.ensemble",
    "search.reproduce",
    "search.finish",
    "trainers.fit",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_while_the_first_library_is_imported_prints_one_word(command, tmp_path):
    (tmp_path / "typer.py").write_text(SLOW)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", command, "--help"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, *printed) == (130, "", "\nInterrupted.\n")
