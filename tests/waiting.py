"""Wait in tests for other processes. The limit only ends a test that hangs; a slow machine does not reach it."""

import time
from collections.abc import Callable
from subprocess import Popen
from typing import Any

LIMIT_SECONDS = 900
"""The longest time that a test waits for a process or a condition."""


def wait_for(condition: Callable[[], Any], process: Popen[Any] | None = None) -> Any:
    """Wait until `condition` returns a true value; return that value. `process` must live until then."""
    end = time.monotonic() + LIMIT_SECONDS
    while True:
        ended = process is not None and process.poll() is not None  # first: it may end after the condition is true
        if found := condition():
            return found
        assert not ended, f"{process and process.args} ended with code {process and process.returncode}"
        assert time.monotonic() < end, f"the condition was still false after {LIMIT_SECONDS} s"
        time.sleep(0.05)
