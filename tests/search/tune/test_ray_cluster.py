"""Test the start of Ray on this machine, and a search on a cluster of two nodes that share only the run directory."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
from ray._private import state, worker

from search.runs.scratch import MARKER, RAY
from search.tune import ray_cluster
from search.tune.ray_cluster import local_node, protect_token, start_fault, started_ray
from tests.search.searching import SPACE, command, environment, rows
from tests.waiting import LIMIT_SECONDS
from trainers.devices import limit_gpu_memory

ROOT = Path(__file__).parents[3]
SHIPPED = ("model", "search", "trainers")
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster()
for _ in range(2):
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", include_dashboard=False)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def test_without_a_memory_limit_cuda_is_not_initialised():
    limit_gpu_memory(None)
    assert not torch.cuda.is_initialized()


@pytest.mark.parametrize(
    ("free", "writable", "error", "sentence"),
    [
        (2**20, True, "no space", r"/.* has only 1 MiB free \(no space\)\. Free some space, or set TMPDIR to another"),
        (2**40, False, "died", r"/.*shm cannot be written \(died\)\. Mount it with write permission"),
        (2**40, True, "The node timed out", r"The node timed out\. Start again when the machine is less busy"),
        (2**40, True, "RuntimeError: no runtime_env", r"RuntimeError: no runtime_env\. Pass --address of a cluster"),
        (2**40, True, "Starting took too long", r"Starting took too long\. Start again when the machine is less busy"),
        (2**40, True, "GCS.\nTraceback:\n Error: refused\n", r"GCS \(Error: refused\)\. Pass --address"),
        (2**40, True, "version", r"version\. Pass --address of a cluster that runs"),
    ],
)
def test_the_error_of_a_failed_start_names_the_cause_on_the_machine_and_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, writable: bool, error: str, sentence: str
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    monkeypatch.setattr(os, "access", lambda path, mode: writable)
    (tmp_path / "shm").mkdir()
    assert re.match(sentence, start_fault(Exception(error), tmp_path / "ray", tmp_path / "shm"))


@pytest.mark.parametrize(("mode", "told"), [(0o644, True), (0o640, True), (0o600, False)])
def test_a_token_that_others_can_read_is_made_private_and_the_user_is_told(tmp_path: Path, mode: int, told: bool):
    (tmp_path / "token").touch()
    (tmp_path / "token").chmod(mode)
    (tmp_path / "link").symlink_to(tmp_path / "token")
    assert protect_token(tmp_path / "link") is None and protect_token(tmp_path / "none") is None
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == mode
    assert (protect_token(tmp_path / "token") is not None) == told
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_a_session_has_a_token_of_its_own_in_its_environment():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    code = (
        "import os; from search.tune.ray_environment import set_ray_environment; set_ray_environment(None); "
        "print(os.environ['RAY_AUTH_MODE'], os.environ['RAY_AUTH_TOKEN'])"
    )
    printed = [subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) for _ in range(2)]
    assert re.fullmatch(r"token [0-9a-f]{64}\n", printed[0])
    assert printed[0] != printed[1]


@pytest.mark.usefixtures("without_ray")
def test_ray_uses_the_usable_cpus_leaves_nothing_readable_by_others_and_records_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(sys, "argv", ["search.launch", "--study", "postgresql://me:secret@host/db"])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("long" * 30)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    gpus = float(torch.cuda.device_count())
    assert local_node() == [{"CPU": 1.0, "GPU": gpus}]
    with started_ray(None, False):
        assert {name: ray.cluster_resources().get(name, 0) for name in ("CPU", "GPU")} == {"CPU": 1, "GPU": gpus}
        place = Path(tempfile.gettempdir())
        assert place.parent == Path("/tmp"), "a path that is too long for sockets is replaced"
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert {path.name for path in place.iterdir()} == {MARKER, RAY}
        (job,) = state.jobs()
        assert job["Entrypoint"] == "search.launch --study 'postgresql://me:***@host/db'"
        assert os.environ["RAY_AUTH_TOKEN"] not in subprocess.check_output(["ps", "-eo", "args"], text=True)
    assert not place.exists() and not (tmp_path / ".ray").exists()


def test_what_ray_reports_to_its_driver_goes_to_the_error_output_which_a_session_writes_to_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    over = threading.Event()

    def poll() -> tuple[None, dict[str, Any]]:
        over.set()
        return None, {"job_id": None, "error_message": "a dump of the raylet's state"}

    subscriber = SimpleNamespace(subscribe=lambda: None, poll=poll)
    monkeypatch.setattr(ray, "init", lambda **settings: None)
    ray_cluster._init()
    driver: Any = SimpleNamespace(gcs_error_subscriber=subscriber, current_job_id=ray.JobID.nil())
    worker.listen_error_messages(driver, over)
    assert capsys.readouterr() == ("", "a dump of the raylet's state\n")


@pytest.fixture
def cluster_environment() -> Iterator[dict[str, str]]:
    """Return environment variables with which Ray uses the loopback address only, and a directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="rc-", ignore_cleanup_errors=True) as scratch:
        own = {"RAY_TMPDIR": scratch, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        # With Ray's own niceness of 15, the trials would wait for the other tests.
        yield environment() | own | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}


@pytest.fixture
def address(cluster_environment: dict[str, str]) -> Iterator[str]:
    """Start a Ray cluster of two nodes on this machine, with one CPU each."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        text=True,
        env=cluster_environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            found = process.stdout.readline().strip()
            assert found, "the cluster did not start"
            yield found
        finally:
            process.communicate(timeout=LIMIT_SECONDS)


def test_a_search_on_a_cluster_ships_the_code_and_uses_all_nodes(tmp_path, tiny_encoder, address, cluster_environment):
    project = tmp_path / "project"
    for package in SHIPPED:
        shutil.copytree(ROOT / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    trial = project / "trainers" / "trial.py"
    where = '__import__("ray").get_runtime_context().get_node_id() + " " + __file__'
    trial.write_text(trial.read_text().replace("platform.node()", where))
    (tmp_path / "space.py").write_text(SPACE)
    options = ("--address", address, "--trials", "2", "--concurrency", "2")
    arguments = command(tmp_path / "space.py", tmp_path / "runs", tiny_encoder, *options)
    done = subprocess.run(
        arguments, cwd=project, env=cluster_environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "run"
    assert done.stdout.splitlines()[-1] == str(run / "report.html")
    nodes, files = zip(*(row.node.split() for _, row in rows(run)), strict=True)
    assert len(set(nodes)) == 2
    assert all("/_ray_pkg_" in file for file in files), "the workers must import the code that the driver shipped"
