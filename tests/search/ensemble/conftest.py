"""Runs and ensembles that several test files of this folder read; no test changes a trial of them."""

from pathlib import Path

import pytest

from search.ensemble.build import write
from search.ensemble.choose import Chosen, choose
from search.runs.run import Run
from tests.search.declared_run import declared_run
from tests.search.example_run import example_run, trained_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, sample_corpus_directory: Path) -> Run:
    """Return the example run; the fixture `chosen` writes its ensemble."""
    return example_run(tmp_path_factory.mktemp("runs") / "example", sample_corpus_directory)


@pytest.fixture(scope="session")
def chosen(run: Run) -> Chosen:
    """Choose and write the ensemble of the example run."""
    found = choose([run])
    write(run, found)
    return found


@pytest.fixture(scope="session")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run on tasks that its data declare; the fixture `declared_chosen` writes its ensemble."""
    return declared_run(tmp_path_factory.mktemp("runs") / "declared")


@pytest.fixture(scope="session")
def declared_chosen(declared: Run) -> Chosen:
    """Choose and write the ensemble of the run on declared tasks."""
    found = choose([declared])
    write(declared, found)
    return found


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, sample_corpus_directory: Path) -> Run:
    """Return a run of two trained trials with different seeds, so their heads start from different weights."""
    return trained_run(tmp_path_factory.mktemp("runs") / "trained", sample_corpus_directory)
