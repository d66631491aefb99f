"""Test that temporary files lie in one private folder, and that only folders of dead processes are deleted."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from model.errors import InputError
from search.runs.scratch import (
    MARKER,
    PREFIX,
    SOCKET_BYTES,
    clear_dead,
    private_scratch,
    scratch_base,
    socket_path_bytes,
)
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
HOLD = """
import pathlib, sys, tempfile
from search.runs.scratch import private_scratch
with private_scratch() as place:
    tempfile.mkdtemp()
    print(place, flush=True)
    sys.stdin.read()
"""
AGENT = """
import sys
open("/proc/self/comm", "w").write(sys.argv[1])
file = open(sys.argv[2], "w")
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield Path(short)


def hold(base: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that has a private folder; return the process and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=os.environ | {"TMPDIR": str(base), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_temporary_files_lie_in_a_private_folder_that_is_deleted_at_the_end(base: Path):
    before = dict(os.environ)
    with pytest.raises(KeyboardInterrupt), private_scratch() as place:
        assert (place.parent, stat.S_IMODE(place.stat().st_mode)) == (base, 0o700)
        assert Path(tempfile.mkdtemp()).parent == place and os.environ["TMPDIR"] == str(place)
        with private_scratch() as same:
            assert same == place
        assert place.exists()
        raise KeyboardInterrupt
    assert (list(base.iterdir()), dict(os.environ), tempfile.gettempdir()) == ([], before, str(base))


def test_the_folder_of_a_killed_process_is_deleted_by_the_next_start_and_that_of_a_live_one_is_not(base: Path):
    (dead, old), (live, kept) = hold(base), hold(base)
    (base / f"{PREFIX}link").symlink_to(base)
    (base / "other").mkdir()
    (base / f"{PREFIX}tune").mkdir()  # a clone of the project, for example
    dead.kill()
    dead.communicate()
    assert any(old.iterdir())
    with private_scratch() as place:
        assert sorted(base.iterdir()) == sorted(
            [place, kept, base / f"{PREFIX}link", base / f"{PREFIX}tune", base / "other"]
        )
    live.communicate()
    assert sorted(path.name for path in base.iterdir()) == [f"{PREFIX}link", f"{PREFIX}tune", "other"]


@contextmanager
def agents(*files: tuple[str, Path]) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a process for each (name of the process, file that it has open)."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", AGENT, name, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, file in files
    ]
    try:
        for agent in started:
            assert agent.stdout and agent.stdout.readline() == "open\n"
        yield started
    finally:
        for agent in started:
            agent.communicate()


def test_only_processes_of_ray_that_use_the_folder_of_a_dead_process_are_ended(base: Path):
    place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    (place / MARKER).touch()
    with agents(("ray::Agent", place / "log"), ("tail", place / "log"), ("ray::Agent", base / "log")) as started:
        clear_dead(base)
        assert wait_for(started[0].poll) == -signal.SIGKILL
        assert [agent.poll() for agent in started[1:]] == [None, None]
        assert not place.exists()


def test_a_process_of_ray_that_still_uses_the_folder_is_ended_with_the_command(base: Path):
    with ExitStack() as command:
        place = command.enter_context(private_scratch())
        with agents(("ray::Agent", place / "log")) as (agent,):
            command.close()
            assert wait_for(agent.poll) == -signal.SIGKILL
            assert list(base.iterdir()) == []


def test_a_folder_is_used_if_sockets_fit_into_it_and_its_name_is_plain(tmp_path: Path, base: Path):
    long = tmp_path / ("long" * 30)
    odd = base / "what? now"
    odd.mkdir()
    assert scratch_base((str(long), str(odd), f"{base}/none", str(base))) == base
    with pytest.raises(InputError, match=r"No folder for temporary files can be used: .*long\. Set TMPDIR to a folder"):
        scratch_base((str(long), str(long)))
    assert socket_path_bytes("/tmp") <= SOCKET_BYTES - 10
