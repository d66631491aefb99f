"""Test the number of usable CPUs: by affinity, by the quotas of control groups, and by SLURM."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainers.cpus import usable_cpus
from trainers.start import started

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process run on 16 CPUs, outside SLURM."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)


@pytest.fixture
def pinned() -> Iterator[None]:
    """Pin this thread to one CPU, as `taskset` pins a command."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def system(root: Path, memberships: str, mounts: str, **files: str) -> Path:
    """Write the files of /proc/self and of control groups under another root; return the root."""
    files = {"proc/self/cgroup": memberships, "proc/self/mountinfo": mounts} | files
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def quota(group: str, cpus: float | None, version: int = 2) -> dict[str, str]:
    """Return the files of a control group's quota; None is no quota."""
    if version == 2:
        return {f"sys/fs/cgroup/{group}/cpu.max": f"{'max' if cpus is None else int(cpus * 100000)} 100000\n"}
    folder = f"sys/fs/cgroup/cpu,cpuacct/{group}"
    return {
        f"{folder}/cpu.cfs_quota_us": f"{-1 if cpus is None else int(cpus * 50000)}\n",
        f"{folder}/cpu.cfs_period_us": "50000\n",
    }


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(
    ("own", "parent", "cpus"),
    [(None, None, 16), (4, None, 4), (None, 3, 3), (8, 2, 2), (2.9, None, 2), (0.5, None, 1), (64, None, 16)],
)
@pytest.mark.parametrize("version", [1, 2])
def test_the_smallest_quota_of_a_control_group_and_its_parents_counts(tmp_path: Path, version, own, parent, cpus):
    membership = "0::/job/step\n" if version == 2 else "5:cpuset:/\n4:cpu,cpuacct:/job/step\n1:name=systemd:/\n0::/\n"
    mounts = V2 if version == 2 else V1.format(root="/")
    files = quota("job/step", own, version) | quota("job", parent, version)
    assert usable_cpus(system(tmp_path, membership, mounts, **files)) == cpus


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(
    ("membership", "mounts", "files"),
    [
        ("0::/\n", V2, quota(".", 2)),  # a container with a namespace of its own
        ("4:cpu,cpuacct:/docker/a1\n", V1.format(root="/docker/a1"), quota(".", 2, 1)),  # one without, as in Docker
        ("4:cpu,cpuacct:/docker/a1\n", V1.format(root="/docker/b2"), quota(".", 2, 1)),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, membership, mounts, files):
    assert usable_cpus(system(tmp_path, membership, mounts, **files)) == 2


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize("text", ["", "max", "0 100000", "100000 0", "many cores", "-1 100000"])
def test_a_quota_that_says_nothing_is_no_quota(tmp_path: Path, text):
    assert usable_cpus(system(tmp_path, "0::/\n", V2, **{"sys/fs/cgroup/cpu.max": text})) == 16


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(
    ("membership", "mounts"),
    [
        ("\nno colon\n1:one colon\n0::/\n", V2),
        ("0::/\n", "\n30 23\n30 23 0:26 / /sys - \n31 23 0:28 / /proc rw - proc\n" + V2),
        ("0::/\n", "29 23 0:25 / /media/caf\udce9 rw - ext4 /dev/sdb rw\n" + V2),  # a name that is not UTF-8
    ],
)
def test_a_line_that_cannot_be_read_is_skipped(tmp_path: Path, membership, mounts):
    root = system(tmp_path, membership, "", **quota(".", 2))
    (root / "proc/self/mountinfo").write_bytes(mounts.encode(errors="surrogateescape"))
    assert usable_cpus(root) == 2


@pytest.mark.usefixtures("sixteen")
def test_a_mount_point_with_a_blank_is_found(tmp_path: Path):
    mounts = V2.replace(" / /sys/fs/cgroup ", r" /my\040job /sys/fs/my\040groups ")
    (tmp_path / "sys/fs/my groups").mkdir(parents=True)
    (tmp_path / "sys/fs/my groups/cpu.max").write_text("200000 100000")
    assert usable_cpus(system(tmp_path, "0::/my job\n", mounts)) == 2


@pytest.mark.usefixtures("sixteen")
def test_without_control_groups_the_affinity_counts(tmp_path: Path):
    assert usable_cpus(tmp_path) == 16
    assert usable_cpus(system(tmp_path, "", "")) == 16


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(("allocated", "cpus"), [("4", 4), ("32", 16), ("0", 1), ("", 16), ("4(x2)", 16)])
def test_the_cpus_that_slurm_has_allocated_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allocated, cpus):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", allocated)
    assert usable_cpus(tmp_path) == cpus


@pytest.mark.usefixtures("pinned")
def test_a_cpu_on_which_the_process_may_not_run_does_not_count():
    assert usable_cpus() == 1


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(("before", "after"), [(None, "3"), ("2", "2")])
def test_a_command_limits_the_threads_of_libraries_unless_the_user_has(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setenv("OMP_NUM_THREADS", before or "")
    if before is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "3")
    with started("trainers.fit"):
        assert os.environ["OMP_NUM_THREADS"] == after


@pytest.mark.usefixtures("sixteen")
def test_a_process_that_may_use_all_cpus_leaves_the_threads_to_the_libraries(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with started("trainers.fit"):
        assert "OMP_NUM_THREADS" not in os.environ
