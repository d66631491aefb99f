"""What tests of the search share: tokenised data, and small recipes under names."""

from pathlib import Path

import pytest
import torch

from tests.search.example_run import example_corpus
from tests.search.recipe_runs import SYSTEMS
from trainers.recipes.registry import RECIPES


@pytest.fixture(scope="session")
def sample_corpus_directory(tmp_path_factory) -> Path:
    """The generated sample, tokenised."""
    return example_corpus(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def one_thread():
    """Train tiny models without handing every small product to other threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def systems(monkeypatch):
    """Give small recipes of every kind their names."""
    for name, system in SYSTEMS.items():
        monkeypatch.setitem(RECIPES, name, lambda system=system: system)
