"""Test how the fuzzer of the readers describes a process that gave no answer."""

import signal

import pytest

from benchmarks.fuzz import SECONDS, death


@pytest.mark.parametrize(
    ("exitcode", "fault"),
    [
        (-signal.SIGALRM, f"hangs for {SECONDS} s"),
        (-signal.SIGSEGV, "dies of signal 11"),
        (1, "ends with code 1"),
        (0, "ends with code 0"),
    ],
)
def test_the_fault_of_a_process_that_ended_is_a_time_limit_a_signal_or_a_code(exitcode: int, fault: str):
    assert death(exitcode) == fault
