"""Ray on this machine or on a cluster."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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
from search.tune.slots import Slots
from trainers.command_line import catch_signals
from trainers.devices import limit_gpu_memory

KNOCK_SECONDS = 5


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


def starmap(slots: Slots) -> Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterator[Any]]:
    """Return an `itertools.starmap` whose calls run as Ray tasks, all begun at once, each with a trial's resources."""

    def call(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        def limited(*given: Any) -> Any:
            torch.set_num_threads(slots.threads)
            limit_gpu_memory(slots.memory)
            return function(*given, device=slots.device)

        remote = ray.remote(limited).options(num_cpus=slots.cpus, num_gpus=slots.gpus)
        return map(ray.get, [remote.remote(*given) for given in arguments])

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
