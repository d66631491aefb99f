"""Fixtures for the tests of the search command."""

import signal
from pathlib import Path

import pytest

from tests.search.launch.places import Place
from tests.search.searching import SPACE


@pytest.fixture
def place(tmp_path: Path, tiny_encoder: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))
    # The command sets this variable; monkeypatch restores it after the test.
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    (tmp_path / "space.py").write_text(SPACE)
    return Place(tmp_path / "space.py", tiny_encoder, tmp_path / "runs")


@pytest.fixture(autouse=True)
def signals_as_before():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
