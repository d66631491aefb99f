"""The example run that several tests of the report read."""

from pathlib import Path

import pytest

from search.ensemble.build import write as write_ensemble
from search.ensemble.choose import choose
from search.runs.run import Run
from tests.search.example_run import example_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, sample_corpus_directory: Path) -> Run:
    """Return an example run with its ensemble."""
    run = example_run(tmp_path_factory.mktemp("runs") / "example", sample_corpus_directory)
    write_ensemble(run, choose([run]))
    return run
