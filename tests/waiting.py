"""Wait in tests for other processes. The limit ends a test that hangs on any machine; it is no target of speed."""

import time
from collections.abc import Callable
from subprocess import Popen
from typing import Any

LIMIT_SECONDS = 900
"""The longest time that a test waits for a process or a condition."""


def wait_for(condition: Callable[[], Any], process: Popen[Any] | None = None) -> Any:
    """Wait until `condition` returns a true value; return that value. `process` must live until then."""
    end = time.monotonic() + LIMIT_SECONDS
    while not (found := condition()):
        assert process is None or process.poll() is None, f"{process.args} ended with code {process.returncode}"
        assert time.monotonic() < end, f"the condition was still false after {LIMIT_SECONDS} s"
        time.sleep(0.05)
    return found
