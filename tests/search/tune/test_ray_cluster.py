"""Test the start of Ray on this machine, and a search on a cluster of two nodes that share only the run directory."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch

from model.errors import InputError
from search.tune.ray_cluster import local_node, started_ray
from tests.search.searching import SPACE, command, environment, rows
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


@pytest.mark.usefixtures("without_ray")
def test_a_failed_start_of_ray_is_one_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    (tmp_path / ("long" * 30)).mkdir()
    with (
        pytest.raises(InputError, match=r"Ray does not start on this machine: .+\. Start again when"),
        started_ray(None, False),
    ):
        pass


@pytest.mark.usefixtures("without_ray")
def test_ray_and_the_slots_count_only_the_cpus_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    gpus = float(torch.cuda.device_count())
    assert local_node() == [{"CPU": 1.0, "GPU": gpus}]
    with started_ray(None, False):
        assert {name: ray.cluster_resources().get(name, 0) for name in ("CPU", "GPU")} == {"CPU": 1, "GPU": gpus}


@pytest.fixture
def cluster_environment() -> Iterator[dict[str, str]]:
    """Return environment variables with which Ray uses the loopback address only, and a directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="rc-", ignore_cleanup_errors=True) as scratch:
        own = {"RAY_TMPDIR": scratch, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        yield environment() | own | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


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
            process.communicate(timeout=60)


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
    done = subprocess.run(arguments, cwd=project, env=cluster_environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "run"
    assert done.stdout.splitlines()[-1] == str(run / "report.html")
    nodes, files = zip(*(row.node.split() for _, row in rows(run)), strict=True)
    assert len(set(nodes)) == 2
    assert all("/_ray_pkg_" in file for file in files), "the workers must import the code that the driver shipped"
