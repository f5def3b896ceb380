import os
import sys

import pytest

from nas.system import cores
from nas.system.cores import num_cores

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate\n"
V1 = "33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """A machine of 16 cores whose files of control groups are those that a test writes."""
    monkeypatch.setattr(cores, "ROOT", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_num_cores_is_that_of_the_affinity_without_a_quota(linux):
    assert num_cores() == 12


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 12), ("400000 100000", 4), ("250000 100000", 2), ("50000 100000", 1)],
)
def test_num_cores_keeps_to_a_quota_of_version_2(linux, quota, expected):
    linux(
        {
            "proc/self/mountinfo": MEMORY + V2,
            "proc/self/cgroup": "0::/user.slice/job\n",
            "sys/fs/cgroup/user.slice/job/cpu.max": f"{quota}\n",
        }
    )
    assert num_cores() == expected


def test_num_cores_keeps_to_the_least_quota_of_the_groups_around(linux):
    linux(
        {
            "proc/self/mountinfo": V2,
            "proc/self/cgroup": "0::/a/b/c\n",
            "sys/fs/cgroup/a/b/c/cpu.max": "max 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "300000 100000\n",
            "sys/fs/cgroup/a/cpu.max": "800000 100000\n",
        }
    )
    assert num_cores() == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 12), ("200000", 2), ("150000", 1)])
def test_num_cores_keeps_to_a_quota_of_version_1(linux, quota, expected):
    linux(
        {
            "proc/self/mountinfo": MEMORY + V1,
            "proc/self/cgroup": "4:memory:/other\n3:cpu,cpuacct:/job\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": f"{quota}\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        }
    )
    assert num_cores() == expected


def test_num_cores_reads_the_containers_group_where_the_path_is_the_hosts(linux):
    mounts = V1.replace("/ /sys", "/docker/1f2e /sys") + V2.replace(
        "/cgroup rw", "/cgroup/unified rw"
    )
    linux(
        {
            "proc/self/mountinfo": mounts,
            "proc/self/cgroup": "3:cpu,cpuacct:/docker/1f2e\n0::/somewhere/else\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/unified/cpu.max": "100000 100000\n",
        }
    )
    assert num_cores() == 1


@pytest.mark.parametrize("text", ["", "nonsense\n", "max\n", "0 0\n", "-5 100000\n"])
def test_num_cores_takes_a_quota_that_it_cannot_read_for_none(linux, text):
    linux({"proc/self/mountinfo": V2, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": text})
    assert num_cores() == 12


def test_num_cores_counts_the_machines_where_nothing_binds_processes(linux, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert num_cores() == 16
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_cores() == 1


def test_num_cores_of_this_machine_is_at_most_what_it_has():
    assert 1 <= num_cores() <= (os.cpu_count() or sys.maxsize)
