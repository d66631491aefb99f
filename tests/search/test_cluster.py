"""Trials on nodes: how many fit, and a search on a cluster of two that share nothing but the run directory."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.errors import InputError
from search.cluster import Slots, choose_slots, machine, started_ray
from tests.search.searching import SPACE, command, environment, rows
from trainers.devices import CONTEXT_BYTES, allocated_share, keep_to_share

ROOT = Path(__file__).parents[2]
SHIPPED = ("model", "search", "trainers")
LAPTOP, TWO_GPUS, HEAD = {"CPU": 8.0}, {"CPU": 8.0, "GPU": 2.0}, {"CPU": 0.0}
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


@pytest.mark.parametrize(
    ("nodes", "concurrency", "cpus", "gpus", "slots"),
    [
        ([LAPTOP], None, 1, None, Slots(8, 1, 0)),
        ([LAPTOP], 3, 1, None, Slots(3, 1, 0)),
        ([LAPTOP], None, 3, None, Slots(2, 3, 0)),
        ([LAPTOP], None, 0.5, 0, Slots(16, 0.5, 0)),
        ([LAPTOP, LAPTOP], None, 5, None, Slots(2, 5, 0)),
        ([HEAD, TWO_GPUS], None, 1, None, Slots(2, 1, 1)),
        ([LAPTOP, TWO_GPUS], None, 1, 0, Slots(16, 1, 0)),
        ([TWO_GPUS], None, 1, 0.25, Slots(8, 1, 0.25)),
        ([TWO_GPUS], None, 4, 0.25, Slots(2, 4, 0.25)),
        ([TWO_GPUS, TWO_GPUS], 2, 1, 2, Slots(2, 1, 2)),
        ([TWO_GPUS], None, 1, 0.33, Slots(6, 1, 1 / 3)),
        ([{"CPU": 99.0, "GPU": 8.0}], None, 1, 0.19, Slots(40, 1, 0.2)),
        ([{"CPU": 99.0, "GPU": 1.0}], None, 1, 1 / 49, Slots(49, 1, 1 / 49)),
    ],
)
def test_as_many_trials_run_at_once_as_were_asked_for_or_as_fit(nodes, concurrency, cpus, gpus, slots):
    assert choose_slots(nodes, concurrency, cpus, gpus) == slots


@pytest.mark.parametrize(
    ("nodes", "concurrency", "cpus", "gpus", "said"),
    [
        ([LAPTOP], None, 9, None, "A trial of 9 CPUs and 0 GPUs fits on no node; the largest has 8 CPUs and 0 GPUs."),
        ([LAPTOP], None, 1, 1, "A trial of 1 CPUs and 1 GPUs fits on no node; the largest has 8 CPUs and 0 GPUs."),
        ([TWO_GPUS, TWO_GPUS], None, 1, 3, "the largest has 8 CPUs and 2 GPUs. Lower"),
        ([HEAD], None, 1, None, "fits on no node"),
        (
            [TWO_GPUS],
            None,
            1,
            1.5,
            "--gpus-per-trial 1.5: trials have whole GPUs, or share one. Pass 1 or 2, or a share",
        ),
        (
            [TWO_GPUS],
            None,
            1,
            0.4,
            "--gpus-per-trial 0.4: as many trials as fit would leave a part of the GPU to nobody.",
        ),
        ([TWO_GPUS], None, 1, 0.7, "Pass 1, or 0.5 for one more."),
        ([LAPTOP, TWO_GPUS], 3, 1, None, "--concurrency 3: only 2 trials of 1 CPUs and 1 GPUs fit at once. Lower"),
    ],
)
def test_what_no_node_can_hold_is_refused(nodes, concurrency, cpus, gpus, said):
    with pytest.raises(InputError) as told:
        choose_slots(nodes, concurrency, cpus, gpus)
    assert said in str(told.value)


def test_a_trial_has_the_threads_of_its_cpus_and_at_least_one():
    assert [Slots(1, cpus, 0).threads for cpus in (0.5, 1, 1.5, 4)] == [1, 1, 1, 4]
    assert (Slots(1, 1, 0).device, Slots(1, 1, 0.5).device) == ("cpu", "cuda")


def test_trials_that_share_a_gpu_have_as_much_of_its_memory_as_of_the_gpu_less_what_cuda_takes():
    assert [Slots(1, 1, gpus).memory for gpus in (0, 0.25, 0.5, 1, 2)] == [None, 0.25, 0.5, None, None]
    gib = 2**30
    assert allocated_share(0.25, 80 * gib) * 80 == pytest.approx(19)
    for neighbours in (2, 3, 8):
        taken = neighbours * (allocated_share(1 / neighbours, 16 * gib) * 16 * gib + CONTEXT_BYTES)
        assert taken == pytest.approx(16 * gib)
    assert allocated_share(1 / 16, 8 * gib) == 0, "nothing is left: a trial runs out of memory and says so"


def test_without_a_share_no_gpu_is_looked_for():
    keep_to_share(None)
    assert not torch.cuda.is_initialized()


def test_a_ray_that_cannot_start_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    (tmp_path / ("long" * 30)).mkdir()
    with (
        pytest.raises(InputError, match=r"Ray does not start on this machine: .+\. Start again when"),
        started_ray(None, False),
    ):
        pass


def test_this_machine_is_one_node():
    (node,) = machine()
    assert node["CPU"] >= 1 and node["GPU"] >= 0


@pytest.fixture
def surroundings() -> Iterator[dict[str, str]]:
    """Give an environment in which Ray keeps to loopback and to a directory of its own, with a short path."""
    with tempfile.TemporaryDirectory(prefix="rc-", ignore_cleanup_errors=True) as scratch:
        own = {"RAY_TMPDIR": scratch, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        yield environment() | own | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@pytest.fixture
def address(surroundings: dict[str, str]) -> Iterator[str]:
    """Start a Ray of two nodes of one CPU each, told apart by nothing but their raylets."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], text=True, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout
            found = process.stdout.readline().strip()
            assert found, "the cluster did not start"
            yield found
        finally:
            process.communicate(timeout=60)


def test_a_search_on_a_cluster_ships_the_code_and_uses_all_nodes(tmp_path, tiny_encoder, address, surroundings):
    project = tmp_path / "project"
    for package in SHIPPED:
        shutil.copytree(ROOT / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    trial = project / "trainers" / "trial.py"
    where = '__import__("ray").get_runtime_context().get_node_id() + " " + __file__'
    trial.write_text(trial.read_text().replace("platform.node()", where))
    (tmp_path / "space.py").write_text(SPACE)
    options = ("--address", address, "--trials", "2", "--concurrency", "2")
    arguments = command(tmp_path / "space.py", tmp_path / "runs", tiny_encoder, *options)
    done = subprocess.run(arguments, cwd=project, env=surroundings, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "run"
    assert done.stdout.splitlines()[-1] == str(run / "report.html")
    nodes, files = zip(*(row["node"].split() for _, row in rows(run)), strict=True)
    assert len(set(nodes)) == 2
    assert all("/_ray_pkg_" in file for file in files), "the worker imported what the driver had shipped"
