"""Test that a failure, of the training or of one result, prevents no other result of a run."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from model.errors import InputError
from search.runs.run import TABLE, Run
from search.session.conclusion import check_failures, conclude
from tests.search.example_run import ExampleTrial, write_search, write_trial
from trainers.faults import MachineError

NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "/disk/a")
COMPLETE, PRUNED, FAIL, RUNNING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return write_search(tmp_path / "run", sample_corpus_directory)


def fail(error: Exception) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


def concluded(run: Run, train: Exception | None, ensemble: Exception | None, capsys) -> tuple[BaseException, list[str]]:
    """Conclude a run in which steps fail; return the error, and the lines of the terminal, the last result's too."""

    def step(error: Exception | None) -> Callable[[], None]:
        return fail(error) if error else lambda: None

    results = {"No ensemble was built": step(ensemble), "No report was written": lambda: print("report")}
    with pytest.raises((Exception, SystemExit)) as caught:
        conclude(run, step(train), results)
    printed = capsys.readouterr()
    return caught.value, [*printed.err.splitlines(), *printed.out.splitlines()]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("a bug"), "No ensemble was built. RuntimeError: a bug."),
        (MemoryError(), "No ensemble was built. MemoryError."),
        (NO_SPACE, "No ensemble was built. No space left on device: /disk/a."),
        (MachineError("the disk is full."), "No ensemble was built. The disk is full."),
        (MachineError("ensemble/a.csv: no such file"), "No ensemble was built. ensemble/a.csv: no such file."),
    ],
)
def test_an_error_in_the_ensemble_prevents_no_report_and_is_raised_after_it(run: Run, capsys, error, line):
    raised, lines = concluded(run, None, error, capsys)
    assert raised is error
    assert lines == [line, "report"]


def test_bad_input_of_the_ensemble_is_one_line_and_exit_code_1(run: Run, capsys):
    raised, lines = concluded(run, None, InputError("No trial has finished a round."), capsys)
    assert isinstance(raised, SystemExit) and raised.code == 1
    assert lines == ["No ensemble was built. No trial has finished a round.", "report"]


def test_a_bug_in_the_training_is_raised_after_all_results(run: Run, capsys):
    bug = KeyError("round")
    raised, lines = concluded(run, bug, RuntimeError("another one"), capsys)
    assert raised is bug
    assert lines == [
        "The training ended early. KeyError: 'round'.",
        "No ensemble was built. RuntimeError: another one.",
        "report",
    ]
    assert run.folder.exists(TABLE)


@pytest.mark.parametrize("error", [NO_SPACE, MachineError("No space left on device: /disk/a")])
def test_a_fault_of_the_machine_in_the_training_leaves_the_results_to_a_resume(run: Run, capsys, error):
    assert concluded(run, error, None, capsys) == (error, [])
    assert not run.folder.exists(TABLE)


def test_a_table_that_cannot_be_written_prevents_no_other_result(run: Run, capsys):
    (run.folder.local or Path()).joinpath(TABLE, "file").mkdir(parents=True)
    raised, lines = concluded(run, None, None, capsys)
    assert isinstance(raised, IsADirectoryError)
    assert [line.partition(".")[0] for line in lines] == ["No table of rounds was written", "report"]


@pytest.mark.parametrize(
    ("states", "line"),
    [
        ([FAIL, FAIL, COMPLETE], "2 of 3 ended trials failed; the report and the lines above give the reasons.\n"),
        ([FAIL, RUNNING], "1 of 1 ended trials failed; the report and the lines above give the reasons.\n"),
        ([FAIL, PRUNED], ""),
        ([RUNNING, COMPLETE], ""),
        ([], ""),
    ],
)
def test_a_run_of_which_most_ended_trials_failed_ends_with_exit_code_1(run: Run, capsys, states, line):
    for number, state in enumerate(states):
        write_trial(run, ExampleTrial(number, state, rounds=0 if state != COMPLETE else 1))
    if line:
        with pytest.raises(SystemExit, match="1"):
            check_failures(run.trials())
    else:
        check_failures(run.trials())
    assert capsys.readouterr().err == line
