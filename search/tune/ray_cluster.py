"""Start Ray on this machine, or join a cluster; list its nodes and run functions on them."""

import contextlib
import logging
import os
import re
import shlex
import shutil
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch
import yaml
from ray._private import utils, worker

from model.errors import InputError, first_line
from search.runs.scratch import RAY, private_scratch
from search.tune.slots import Slots
from trainers.cpus import usable_cpus
from trainers.devices import limit_gpu_memory
from trainers.interruption import catch_signals, lose
from trainers.start import ROOT
from trainers.urls import shown

CONNECT_SECONDS = 5
WATCH_SECONDS = 0.5
"""Seconds between two looks at Ray's processes."""
SHIPPED = ("model", "trainers", "search")
"""The packages that a cluster's workers import."""
LEAST_FREE = 64 * 2**20
"""Free bytes of a folder below which the lack of space is the cause of a failed start."""


@contextmanager
def started_ray(address: str | None, dashboard: bool) -> Iterator[str]:
    """Start Ray on this machine, or join a cluster and ship the code to it; shut Ray down or leave at the end.

    `set_ray_environment` must have been called before this module is imported.

    Yields:
        "host:port" of Ray's own dashboard, or "" if there is none.

    Raises:
        InputError: no cluster answers at the address, or Ray does not start on this machine.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    if note := protect_token(Path(os.environ.get("HOME", "/"), ".ray", "auth_token")):
        print(note, flush=True)
    with private_scratch() as scratch:
        try:
            context = _join(address) if address else _start(scratch / RAY, dashboard)
            catch_signals()  # Ray has installed its own handlers
            with _watched():
                yield context.dashboard_url or ""
        finally:
            ray.shutdown()


@contextmanager
def _watched() -> Iterator[None]:
    """End the running command if a process of Ray that this process has started ends: nothing can be trained then.

    Ray itself notices the loss after up to a minute, and then ends this process at once.
    """
    node, over = worker._global_node, threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_SECONDS):
            if node and (dead := node.dead_processes()):
                lose(f"Ray's process {dead[0][0]} has ended unexpectedly, without which no trial can be trained")
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def starmap(slots: Slots) -> Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterator[Any]]:
    """Return an `itertools.starmap` whose calls run as Ray tasks at the same time, each with a slot's resources."""

    def call(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        def limited(*given: Any) -> Any:
            torch.set_num_threads(slots.threads)
            limit_gpu_memory(slots.memory)
            return function(*given, device=slots.device)

        remote = ray.remote(limited).options(num_cpus=slots.cpus, num_gpus=slots.gpus)
        return map(ray.get, [remote.remote(*given) for given in arguments])

    return call


def local_node() -> list[dict[str, float]]:
    """List the resources of this machine that this process may use: one node."""
    return [{"CPU": float(usable_cpus()), "GPU": float(torch.cuda.device_count())}]


def cluster_nodes() -> list[dict[str, float]]:
    """List the resources of the cluster's live nodes, or of all nodes that its autoscaler may start."""
    bootstrap = Path.home() / "ray_bootstrap_config.yaml"  # `ray up` leaves the cluster's configuration on the head
    if not bootstrap.exists():
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]
    config = yaml.safe_load(bootstrap.read_text())
    found = []
    for kind, node in config.get("available_node_types", {}).items():
        head = kind == config["head_node_type"]
        found += [node["resources"]] * (1 if head else node.get("max_workers", config["max_workers"]))
    return found


def protect_token(path: Path) -> str | None:
    """Make a cluster's token private if others can read it, as Ray leaves it; return a line that says so.

    The file holds the token of clusters that are joined. A search on this machine uses a token in its environment
    instead.
    """
    with contextlib.suppress(OSError):  # there is none, or it is a link, or it belongs to another user
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                os.fchmod(descriptor, 0o600)
                return (
                    f"Other users could read Ray's token {path}. It is private now. "
                    "If another user may have read it, delete the file."
                )
        finally:
            os.close(descriptor)
    return None


def start_fault(error: Exception, scratch: Path, shared: Path = Path("/dev/shm")) -> str:
    """Return the sentence for a failed start of Ray: the cause that can be seen on the machine, and its remedy."""
    before, _, last = str(error).strip().rpartition("\n")
    reason = first_line(error) + (f" ({last.strip()[:300]})" if before else "")
    for folder, remedy in ((scratch.parent, "set TMPDIR to another disk"), (shared, "remove files from it")):
        if folder.exists() and (free := shutil.disk_usage(folder).free) < LEAST_FREE:
            return f"{folder} has only {free / 2**20:.0f} MiB free ({reason}). Free some space, or {remedy}."
    if not os.access(shared, os.W_OK):
        return f"{shared} cannot be written ({reason}). Mount it with write permission, as docker run --shm-size does."
    if re.search(r"timed out|time-?out|took too long", reason, re.IGNORECASE):
        return f"{reason}. Start again when the machine is less busy, or pass --address of a cluster that runs."
    return f"{reason}. Pass --address of a cluster that runs, or report this as a bug."


def _start(scratch: Path, dashboard: bool) -> Any:
    """Start Ray on this machine, with its files in `scratch` and the resources that this process may use."""
    (node,) = local_node()
    resources = {"num_cpus": int(node["CPU"]), "num_gpus": int(node["GPU"])}  # by itself Ray counts forbidden CPUs, too
    try:
        # Workers import from the folder in which Ray was started. In the user's folder, a file may hide our packages.
        with contextlib.chdir(ROOT):
            places = {"_temp_dir": str(scratch), "include_dashboard": dashboard, "dashboard_host": "127.0.0.1"}
            return _init(address="local", **resources, **places)
    except Exception as error:  # Ray raises a bare Exception if its start takes over half a minute
        raise InputError(f"Ray does not start on this machine: {start_fault(error, scratch)}") from error


def _join(address: str) -> Any:
    """Join a cluster, and ship this project's packages to it, as its workers' working directory."""
    try:
        _check_listening(address)
        with tempfile.TemporaryDirectory(prefix="minbert-tune-") as copy:
            for package in SHIPPED:
                shutil.copytree(ROOT / package, Path(copy, package), ignore=shutil.ignore_patterns("__pycache__"))
            return _init(address=address, runtime_env={"working_dir": copy})
    except Exception as error:  # Ray raises many classes, for the port of another program or another version of Ray
        raise InputError(
            f"--address {address}: {first_line(error)}. Give auto, or HOST:PORT of a running head."
        ) from error


def _check_listening(address: str) -> None:
    """Connect to HOST:PORT once and raise an error if it fails: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "://" not in address:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def recorded_command() -> str:
    """Return the command line that Ray records for the job, without the secrets of URLs."""
    return shlex.join(map(shown, sys.argv))


def print_ray_error(data: dict[str, Any], ignore_prefix: bool) -> None:
    """Print what Ray reports to its driver, such as a dump of its state, to the standard error output."""
    print(*data["lines"], sep="\n", file=sys.stderr, flush=True)


def _init(**settings: Any) -> Any:
    utils.get_entrypoint_name = recorded_command  # Ray's own reads the arguments of the process, with all secrets
    worker.print_to_stdstream = print_ray_error  # Ray's own prints errors among the lines of the command
    try:
        return ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except SystemExit:  # Ray exits on a SIGTERM during its start
        raise KeyboardInterrupt from None
