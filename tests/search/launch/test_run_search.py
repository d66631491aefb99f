"""Test searches that are started by the command: names of runs, interruption, one driver at a time."""

import os
import re
import shlex
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from search.runs.lock import locked
from search.session.session import READING, STARTING
from tests.search.launch.places import launch
from tests.waiting import wait_for
from trainers.folder import Folder
from trainers.start import LOADING


def test_the_default_name_of_a_run_is_the_space_and_the_time(place):
    ended = launch([str(place.space), "--storage", str(place.storage), "--resume"])
    assert re.search(r"There is no run 'space-\d{8}-\d{6}' at ", ended.stderr), ended.stderr


def test_an_interrupted_search_prints_a_resume_command_with_the_default_name_of_its_run(place, finish_here):
    arguments = [sys.executable, "-m", "search.launch", *place.options()[:1], *place.options()[3:]]
    handler = signal.getsignal(signal.SIGTERM)

    def interrupt() -> None:
        # Once a trial has begun, Tune runs the search and handles the signal between two of its steps.
        wait_for(lambda: list(place.storage.glob("*/trials/*/trial.json")))
        assert signal.getsignal(signal.SIGTERM) != handler, "the signal would end pytest"
        os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor() as pool:
        interruption = pool.submit(interrupt)
        interrupted = finish_here(arguments)
        interruption.result()
    assert interrupted.returncode == 130, interrupted.stderr
    (run,) = place.storage.iterdir()
    (printed,) = [line for line in interrupted.stderr.splitlines() if "Continue with: " in line]
    again = shlex.split(printed.partition(": ")[2])
    assert again == ["python", *arguments[1:], "--name", run.name, "--resume"]
    refused = launch([*again[3:], "--seed", "1"])
    assert f"Run {run.name!r} was made with --seed 0" in refused.stderr


def test_a_second_driver_of_a_run_is_an_error(place, finish_here):
    with locked(Folder.at(place.prepared())):
        refused = finish_here([sys.executable, "-m", "search.launch", *place.options(), "--resume"])
    assert refused.returncode == 2 and f"is in use by process {os.getpid()}" in refused.stderr


def test_the_example_in_the_help_text_runs_as_printed(place, finish_here):
    help = finish_here([sys.executable, "-m", "search.launch", "--help"]).stdout
    (example,) = [line.partition(": ")[2] for line in help.splitlines() if line.strip().startswith("Example: ")]
    python, *arguments = shlex.split(example)
    assert python == "python"
    small = ["--storage", str(place.storage), "--encoder", str(place.encoder), "--rows", "64"]
    done = finish_here([sys.executable, *arguments, *small, "--trials", "1"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == [LOADING, READING, STARTING]
    assert done.stdout.splitlines()[-1] == str(place.storage / "first" / "report.html")
