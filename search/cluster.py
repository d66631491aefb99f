"""Ray on this machine or on a cluster, and how many trials fit on it."""

import logging
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Tune's tables, loggers and snapshots serve nobody here: our files are the record. Ray reads these when it is imported.
os.environ |= {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # By default workers are niced by 15, and beside any other work a trial would get a thirtieth of a core.
    "RAY_worker_niceness": "0",
}

import ray
import torch
import yaml

from model.errors import InputError, first_line
from trainers.command import catch_signals
from trainers.devices import keep_to_share

KNOCK_SECONDS = 5
EVEN = 0.95
"""0.33 three times is a whole GPU, 0.3 is not."""
ROUNDING = 1e-9
"""1/(1/49) may be less than 49."""


@dataclass(frozen=True)
class Slots:
    """How many trials run at once, and on what."""

    count: int
    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        """Where a trial's model lives."""
        return "cuda" if self.gpus else "cpu"

    @property
    def threads(self) -> int:
        """Threads of a trial: the CPUs that it was given, at least one."""
        return max(1, int(self.cpus))

    @property
    def memory(self) -> float | None:
        """The share of a GPU's memory that is a trial's; None for all of it, or without a GPU."""
        return self.gpus if 0 < self.gpus < 1 else None


@contextmanager
def started_ray(address: str | None, dashboard: bool) -> Iterator[str]:
    """Start Ray on this machine, or join a cluster and ship it the code; leave it at the end.

    Yields:
        Where Ray's own page is, "host:port", or "" if there is none.

    Raises:
        InputError: no cluster answers at the address, or Ray does not start here.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    # A short path: those of the sockets below it may not be longer than 107 bytes.
    scratch = None if address else tempfile.mkdtemp(prefix="ray-")
    try:
        if scratch:
            page = {"include_dashboard": dashboard, "dashboard_host": "127.0.0.1"}
            try:
                context = _init(address="local", _temp_dir=scratch, **page)
            except Exception as error:  # Ray's own: a start that takes over half a minute is a bare Exception
                raise InputError(
                    f"Ray does not start on this machine: {first_line(error)}. Start again when it is less busy, "
                    "or pass --address of a cluster that runs."
                ) from error
        else:
            package = {"working_dir": str(Path.cwd()), "excludes": ["/runs/", "/.git/", "/.venv/", "/tests/"]}
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # one attempt, of 40 s; Ray makes twenty
            try:
                _knock(str(address))
                context = _init(address=address, runtime_env=package)
            except Exception as error:  # whatever Ray meets there: a port of something else, another version
                raise InputError(
                    f"--address {address}: {first_line(error)}. Give auto, or HOST:PORT of a running head."
                ) from error
        catch_signals()  # Ray has put handlers of its own in place
        yield context.dashboard_url or ""
    finally:
        ray.shutdown()
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def starmap(slots: Slots) -> Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], list[Any]]:
    """Return an `itertools.starmap` whose calls run as Ray tasks, each with a trial's resources."""

    def call(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        def limited(*given: Any) -> Any:
            torch.set_num_threads(slots.threads)
            keep_to_share(slots.memory)
            return function(*given, device=slots.device)

        remote = ray.remote(limited).options(num_cpus=slots.cpus, num_gpus=slots.gpus)
        return ray.get([remote.remote(*given) for given in arguments])

    return call


def machine() -> list[dict[str, float]]:
    """List the resources of this machine as Ray would count them: one node."""
    return [{"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}]


def nodes() -> list[dict[str, float]]:
    """List the resources of the cluster's live nodes, or of all that its autoscaler may start."""
    bootstrap = Path.home() / "ray_bootstrap_config.yaml"  # `ray up` leaves the cluster's configuration on the head
    if not bootstrap.exists():
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]
    config = yaml.safe_load(bootstrap.read_text())
    found = []
    for kind, node in config.get("available_node_types", {}).items():
        head = kind == config["head_node_type"]
        found += [node["resources"]] * (1 if head else node.get("max_workers", config["max_workers"]))
    return found


def choose_slots(nodes: list[dict[str, float]], concurrency: int | None, cpus: float, gpus: float | None) -> Slots:
    """Fit trials onto nodes.

    Args:
        nodes: resources of each, "CPU" and "GPU".
        concurrency: trials at once; None for as many as fit.
        cpus, gpus: of a trial; None GPUs for one if a node has any, below one a k-th, which may be rounded down.

    Raises:
        InputError: a trial fits on no node, or not as many as asked for, or GPUs cannot be parted like that.
    """
    gpus = _even(gpus) if gpus is not None else float(any(node.get("GPU", 0) for node in nodes))
    room = sum(_room(node, cpus, gpus) for node in nodes)
    if not room:
        largest = max(nodes, key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)))
        raise InputError(
            f"A trial of {cpus:g} CPUs and {gpus:g} GPUs fits on no node; the largest has "
            f"{largest.get('CPU', 0):g} CPUs and {largest.get('GPU', 0):g} GPUs. "
            "Lower --cpus-per-trial or --gpus-per-trial."
        )
    if concurrency and concurrency > room:
        raise InputError(
            f"--concurrency {concurrency}: only {room} trials of {cpus:g} CPUs and {gpus:g} GPUs fit at once. "
            "Lower it, or --cpus-per-trial or --gpus-per-trial."
        )
    return Slots(concurrency or room, cpus, gpus)


def _even(gpus: float) -> float:
    """Check that a trial has whole GPUs or a k-th of one; return it unrounded."""
    if gpus >= 1 and gpus % 1:
        raise InputError(
            f"--gpus-per-trial {gpus:g}: trials have whole GPUs, or share one. "
            f"Pass {int(gpus)} or {int(gpus) + 1}, or a share such as 0.5, 0.33 or 0.25."
        )
    if gpus >= 1 or not gpus:
        return gpus
    neighbours = math.floor(1 / gpus + ROUNDING)
    if neighbours * gpus < EVEN:
        raise InputError(
            f"--gpus-per-trial {gpus:g}: as many trials as fit would leave a part of the GPU to nobody. "
            f"Pass {1 / neighbours:.2g}, or {1 / (neighbours + 1):.2g} for one more."
        )
    return 1 / neighbours


def _knock(address: str) -> None:
    """Connect to HOST:PORT once: where nobody listens, Ray would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "://" not in address:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


def _init(**settings: Any) -> Any:
    try:
        return ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except SystemExit:  # Ray's own answer to a SIGTERM while it starts
        raise KeyboardInterrupt from None


def _room(node: dict[str, float], cpus: float, gpus: float) -> int:
    fits = [math.floor(node.get("CPU", 0) / cpus)]
    if gpus:
        fits.append(math.floor(node.get("GPU", 0) / gpus + ROUNDING))
    return min(fits)
