"""Fixtures for the tests of the command that trains the best configs of a search."""

from pathlib import Path

import pytest

from search.runs.run import Run
from tests.search.example_run import ExampleTrial
from tests.search.finish.searched_run import searched_run


@pytest.fixture
def searched(
    tmp_path: Path, tiny_encoder: Path, user_cache: Path, sample_corpus_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Return a searched run of two trials, whose encoder and data can be read again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # the command sets it; monkeypatch restores it
    trials = ExampleTrial(0), ExampleTrial(1)
    return searched_run(tmp_path, sample_corpus_directory, *trials, encoder=str(tiny_encoder), seed=2, rows=64)
