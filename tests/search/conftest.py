"""Fixtures for tests of the search: tokenised data, named recipes, and a Ray cluster that tests share."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.search import searching
from tests.search.example_run import example_corpus
from tests.search.recipe_runs import SYSTEMS
from trainers.recipes.registry import RECIPES


@pytest.fixture(scope="session")
def sample_corpus_directory(tmp_path_factory) -> Path:
    """Return the directory of the tokenised generated sample."""
    return example_corpus(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Return a function that makes a directory in `tmp_path` read-only for this process, until the test ends.

    Root may write everywhere: a test that runs as root continues as nobody.
    """
    user, nobody = os.geteuid(), 65534
    modes: dict[Path, int] = {}
    """Path -> its mode before the test."""

    def change(path: Path, mode: int) -> None:
        modes[path] = path.stat().st_mode
        path.chmod(mode)

    def apply(directory: Path) -> None:
        for path in (directory, *directory.rglob("*")):
            change(path, 0o555 if path.is_dir() else 0o444)
        if user == 0:
            for parent in directory.parents:
                if not parent.stat().st_mode & stat.S_IXOTH:  # pytest's folders are private
                    change(parent, 0o755)
            os.chown(tmp_path, nobody, -1)
            os.seteuid(nobody)

    yield apply
    os.seteuid(user)
    for path, mode in modes.items():
        path.chmod(mode)


@pytest.fixture
def systems(monkeypatch):
    """Register small recipes of each kind for the duration of a test."""
    for name, system in SYSTEMS.items():
        monkeypatch.setitem(RECIPES, name, lambda system=system: system)


@pytest.fixture(scope="session")
def ray_of_this_process() -> Iterator[Callable[[], None]]:
    """Return a function that starts Ray in this process if it is not running; Ray runs until all tests have ended."""
    import ray  # here, because most tests of the search need no Ray

    from search.tune.ray_cluster import started_ray  # here, because it imports Ray

    with ExitStack() as stack:

        def start() -> None:
            if not ray.is_initialized():
                with searching.restored_environment():
                    stack.enter_context(started_ray(None, False))

        yield start


@pytest.fixture(scope="session")
def finish_here(ray_of_this_process) -> Iterator[Callable[[list[str]], CompletedProcess[str]]]:
    """Return a function that runs a command in this process, with the Ray cluster that all tests share."""
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
    """Shut down Ray in this process, for a test that starts a cluster or connects to one."""
    import ray  # here, because most tests of the search need no Ray

    ray.shutdown()
