"""Count the CPUs that this process may use, and keep libraries from starting more threads than that."""

import os
import re
from collections.abc import Iterator
from pathlib import Path


def usable_cpus(system: Path = Path("/")) -> int:
    """Return the number of CPUs that this process may use at once, at least 1.

    It is the smallest of these numbers: the CPUs that the process may run on (`taskset`, cpusets, SLURM), the CPUs that
    SLURM has allocated on this node, and the CPU quota of each control group above the process, rounded down.

    Args:
        system: the root of the file system; a test passes another one.
    """
    allocated = os.environ.get("SLURM_CPUS_ON_NODE", "")
    slurm = [int(allocated)] if allocated.isdecimal() else []
    return max(1, min([len(os.sched_getaffinity(0)), *slurm, *map(int, _quotas(system))]))


def limit_threads() -> None:
    """Limit the threads of PyTorch, NumPy and PyArrow to the usable CPUs; call it before they are imported.

    These libraries read the variable at their import. By default they know which CPUs the process may run on, but not
    its quota. A value that the user has set stays.
    """
    if (usable := usable_cpus()) < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(usable))


def _quotas(system: Path) -> Iterator[float]:
    """Yield the quota, in CPUs, of each control group of this process that has one, parents included."""
    for group in _control_groups(system):
        try:
            if (group / "cpu.max").exists():  # version 2
                quota, period = (group / "cpu.max").read_text().split()
            else:
                quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if (cpus := int(quota) / int(period)) > 0:  # -1 is no quota in version 1
                yield cpus
        except (OSError, ValueError, ZeroDivisionError):
            continue  # the group has no quota: it has no such file, or its quota is "max"


def _control_groups(system: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups that may limit its CPUs, from its own up to the mounted one.

    Source: cgroups(7), the formats of /proc/self/cgroup and /proc/self/mountinfo (proc(5)).
    """
    try:
        memberships = _lines(system / "proc/self/cgroup")
        mounts = _lines(system / "proc/self/mountinfo")
    except OSError:
        return
    paths = {}
    for _, controllers, path in (parts for line in memberships if len(parts := line.split(":", 2)) == 3):
        paths |= dict.fromkeys(controllers.split(","), path)  # version 2 has no names of controllers
    for root, point, version, options in filter(None, map(_mount, mounts)):
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(version)
        if controller not in paths or (controller and controller not in options.split(",")):
            continue
        own, top = Path(paths[controller]), system / point.lstrip("/")
        inside = own.relative_to(root) if own.is_relative_to(root) else Path()  # a container may show its own root only
        yield from (top / part for part in (inside, *inside.parents))


def _lines(path: Path) -> list[str]:
    """Return the lines of a file of /proc; the name of a folder in it may be any bytes."""
    return path.read_text("utf-8", errors="surrogateescape").splitlines()


def _mount(line: str) -> tuple[str, str, str, str] | None:
    """Return root, mount point, type and super options of a line of mountinfo; None if the line has fewer parts."""
    start, _, end = line.partition(" - ")
    places, about = start.split(" ")[3:5], end.split(" ", 2)
    if len(places) < 2 or len(about) < 3:
        return None
    root, point = map(_unescaped, places)
    return root, point, about[0], about[2]


def _unescaped(name: str) -> str:
    """Return the name that mountinfo writes with escapes such as \\040 for a blank."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), name)
