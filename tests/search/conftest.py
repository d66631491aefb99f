"""Fixtures for the tests of the search: tokenised data, small recipes, and a shared Ray."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from search.tune.ray_environment import set_ray_environment
from tests.search import searching
from tests.search.example_run import example_corpus
from tests.search.recipe_runs import SYSTEMS
from trainers.recipes.registry import RECIPES

set_ray_environment(None)  # before any test module imports Ray


@pytest.fixture(scope="session")
def sample_corpus_directory(tmp_path_factory) -> Path:
    """Return the directory of the tokenised sample corpus."""
    return example_corpus(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def systems(monkeypatch):
    """Register small recipes of every kind under their names."""
    for name, system in SYSTEMS.items():
        monkeypatch.setitem(RECIPES, name, lambda system=system: system)


@pytest.fixture(scope="session")
def ray_of_this_process() -> Iterator[Callable[[], None]]:
    """Return a function that starts Ray in this process unless Ray runs; Ray runs until all tests have ended."""
    import ray  # here, because most tests of the search need no Ray

    from search.tune.ray_cluster import started_ray  # here, because it imports Ray

    with ExitStack() as stack:

        def start() -> None:
            if not ray.is_initialized():
                with searching.surroundings_kept():
                    stack.enter_context(started_ray(None, False))

        yield start


@pytest.fixture(scope="session")
def finish_here(ray_of_this_process) -> Iterator[Callable[[list[str]], CompletedProcess[str]]]:
    """Return a function that runs a command in this process; all its calls share one Ray."""
    from search.tune import ray_cluster  # here, because it imports Ray

    @contextmanager
    def shared(address: str | None, dashboard: bool) -> Iterator[str]:
        assert address is None and not dashboard
        yield ""

    def finish(arguments: list[str]) -> CompletedProcess[str]:
        ray_of_this_process()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ray_cluster, "started_ray", shared)
            return searching.finish_here(arguments)

    yield finish


@pytest.fixture
def without_ray() -> None:
    """Shut down the Ray of this process, for a test that starts or joins one itself."""
    import ray  # here, because most tests of the search need no Ray

    ray.shutdown()
