from pathlib import Path

import pytest
import torch

from tests.search.example_run import example_corpus


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
