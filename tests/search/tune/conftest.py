"""Fixtures for tests of the search's driver."""

from pathlib import Path

import pytest

from tests.search.tune.searched_run import Search, searched_run


@pytest.fixture
def search(tmp_path: Path, sample_corpus_directory: Path) -> Search:
    """Return a prepared run that has no trial yet."""
    return searched_run(tmp_path, sample_corpus_directory)
