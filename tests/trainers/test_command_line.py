"""Test how commands handle bad input, faults and signals, and the printed command that continues a run."""

import errno
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from tests.waiting import LIMIT_SECONDS
from trainers.command_line import LEFT, Begun, command, resume_command
from trainers.faults import MachineError
from trainers.folder import Folder

ROOT = Path(__file__).parents[2]
WAITS = """
import os, signal, sys, time
from pathlib import Path
from trainers.command_line import Begun, command
from trainers.folder import Folder
begun = Begun(Folder.at(Path(sys.argv[3])), True)
{first}
with command("trainers.fit", begun=lambda: begun, extra=("--out", "a place")):
    try:
        print("ready", flush=True)
        {waits}
    finally:
        {closes}
        print("closed", flush=True)
"""
CONTINUES = "Continue with: python -m trainers.fit plain --rows {} --out 'a place' --resume\n"


@pytest.fixture(autouse=True)
def signals_as_before():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_bad_input_prints_one_line_and_exits_with_code_2(capsys):
    with pytest.raises(SystemExit) as ended, command("trainers.fit"):
        raise InputError("The label is not a number. Correct it.")
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "Error: The label is not a number. Correct it.\n")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), command("trainers.fit"):
        raise ZeroDivisionError


def test_an_interruption_that_cannot_be_resumed_prints_no_command(capsys):
    with pytest.raises(SystemExit) as ended, command("search.ensemble"):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"


def test_a_fault_of_the_machine_prints_one_line_and_exits_with_code_1(capsys):
    with pytest.raises(SystemExit) as ended, command("search.report"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/runs/first/report.html")
    assert ended.value.code == 1
    assert capsys.readouterr() == ("", "Error: No space left on device: /runs/first/report.html.\n")


@pytest.mark.parametrize("rounds", [True, False])
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "Interrupted."),
        (MachineError("The machine failed 4 times: No space left on device."), 1, "No space left on device."),
        (MemoryError(), 1, "Error: MemoryError."),
        (ZeroDivisionError("division by zero"), 1, "Error: ZeroDivisionError: division by zero."),
    ],
)
def test_whatever_ends_a_begun_run_the_resume_command_is_printed_last_and_kept_in_its_directory(
    error, code, line, rounds, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["fit.py", "plain"])
    begun = Begun(Folder.at(tmp_path), rounds)
    with pytest.raises(SystemExit) as ended, command("trainers.fit", begun=lambda: begun):
        raise error
    assert ended.value.code == code
    printed = capsys.readouterr().err.strip().splitlines()[-2:]
    assert line in printed[0] and printed[0].endswith("Finished rounds are kept.") == rounds
    assert printed[1] == "Continue with: python -m trainers.fit plain --resume"
    assert (tmp_path / LEFT).read_text().splitlines() == printed


@pytest.mark.parametrize("fault", [OSError(errno.EIO, os.strerror(errno.EIO)), InputError("fit.json is a link.")])
def test_the_resume_command_is_printed_even_if_the_run_cannot_be_read(capsys, fault):
    def unreadable() -> Begun:
        raise fault

    with pytest.raises(SystemExit) as ended, command("trainers.fit", begun=unreadable):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert ended.value.code == 1
    error, resume = capsys.readouterr().err.splitlines()
    assert error == "Error: Input/output error." and resume.startswith("Continue with: python -m trainers.fit ")


@pytest.fixture
def waiting(tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a command which waits for a signal, as a process."""
    started = []

    def start(waits: str = "time.sleep(3600)", closes: str = "pass", first: str = "") -> subprocess.Popen[str]:
        text = WAITS.format(first=first, waits=waits, closes=closes)
        arguments = [sys.executable, "-c", text, "plain", "--rows", str(tmp_path)]
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout and process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("sent", "second"), list(product(["SIGINT", "SIGTERM", "SIGHUP"], ["SIGTERM", "SIGHUP"])))
def test_a_second_signal_does_not_interrupt_the_clean_up_after_the_first(waiting, tmp_path, sent, second):
    process = waiting(closes=f"os.kill(os.getpid(), signal.{second})")
    process.send_signal(signal.Signals[sent])
    printed, errors = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 130 and printed == "closed\n"
    assert errors == "\nInterrupted. Finished rounds are kept.\n" + CONTINUES.format(tmp_path)


@pytest.mark.parametrize("hangs", ["time.sleep(3600)", "[ctypes.CDLL(None).pause() for _ in range(9)]"])
def test_a_second_ctrl_c_leaves_at_once_even_if_the_clean_up_hangs_inside_a_library(waiting, tmp_path, hangs):
    process = waiting(
        first="from trainers import interruption; interruption.GRACE_SECONDS = 3600",
        closes=f"import ctypes; print('closing', flush=True); {hangs}",
    )
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "closing\n"
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 130 and printed == ""
    assert errors == "\nInterrupted. Finished rounds are kept.\n" + CONTINUES.format(tmp_path)


def test_a_command_that_hangs_after_a_signal_is_ended_with_the_same_lines(waiting, tmp_path):
    process = waiting(
        first="from trainers import interruption; interruption.GRACE_SECONDS = 0.5",
        closes="import ctypes; [ctypes.CDLL(None).pause() for _ in range(9)]",
    )
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 130 and printed == ""
    assert errors == "\nInterrupted. Finished rounds are kept.\n" + CONTINUES.format(tmp_path)


def test_a_loss_ends_a_command_with_its_sentence_and_code_1(waiting, tmp_path):
    process = waiting(
        waits="import threading; from trainers.interruption import lose; "
        "threading.Timer(0.1, lose, ['The connection is lost']).start(); time.sleep(3600)"
    )
    printed, errors = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 1 and printed == "closed\n"
    assert errors == "Error: The connection is lost. Finished rounds are kept.\n" + CONTINUES.format(tmp_path)


def test_a_command_under_nohup_ignores_the_closed_terminal(tmp_path):
    text = WAITS.format(first="", waits="os.kill(os.getpid(), signal.SIGHUP)", closes="pass")
    arguments = ["nohup", sys.executable, "-c", text, "plain", "--rows", str(tmp_path)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert (done.returncode, done.stdout) == (0, "ready\nclosed\n")


IMPORTING = """
import sys, os, signal
from trainers.command_line import command
with command("search.launch"):
    import slow
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_import_does_not_swallow_a_signal(tmp_path, sent):
    (tmp_path / "slow.py").write_text(
        f"import os, time\ntry:\n    os.kill(os.getpid(), {sent})\n    time.sleep(9)\nexcept BaseException:\n    pass\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nInterrupted.\n")


def test_the_printed_command_shows_no_password(monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["launch.py", "--study", "postgresql://me:secret@host:5432/db", "--storage=s3://b"]
    )
    printed = shlex.split(resume_command("search.launch", ()))
    assert printed[3:] == ["--study", "postgresql://me:***@host:5432/db", "--storage=s3://b", "--resume"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0@"))))
def test_the_printed_command_is_the_typed_command_with_resume(typed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fit.py", *typed])
        once = resume_command("trainers.fit", ("--name", "a b"))
        python, *rest = shlex.split(once)
        assert python == "python"
        kept = [argument for argument in typed if argument != "--resume"]
        assert rest == ["-m", "trainers.fit", *kept, "--name", "a b", "--resume"]
        patch.setattr(sys, "argv", ["fit.py", *rest[2:]])
        assert resume_command("trainers.fit", ()) == once, "a second interruption prints the same command"
