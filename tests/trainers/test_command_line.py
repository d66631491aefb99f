"""Test how commands handle bad input and signals, and the printed command that continues an interrupted run."""

import shlex
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from trainers.command_line import command, resume_command

ROOT = Path(__file__).parents[2]
WAITS = """
import os, signal, sys
from trainers.command_line import command
with command("trainers.fit", resumable=lambda: True, extra=("--out", "a place")):
    try:
        print("ready", flush=True)
        signal.pause()
    finally:
        os.kill(os.getpid(), signal.{second})
        print("closed", flush=True)
"""


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
    assert "--resume" not in capsys.readouterr().err


@pytest.mark.parametrize(("sent", "second"), list(product(["SIGINT", "SIGTERM"], repeat=2)))
def test_a_second_signal_does_not_interrupt_the_clean_up_after_the_first(sent, second):
    arguments = [sys.executable, "-c", WAITS.format(second=second), "plain", "--rows", "64"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        process.send_signal(signal.Signals[sent])
        printed, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert printed == "closed\n"
    assert "Continue with: python -m trainers.fit plain --rows 64 --out 'a place' --resume\n" in errors
    assert "Traceback" not in errors


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
