"""The memory that is free, by files of Linux that a test writes."""

import os

import pytest

from nas.system import cores
from nas.system.memory import free_memory

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate\n"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
MEMINFO = "MemTotal: 16000 kB\nMemFree: 100 kB\nMemAvailable: 9000 kB\n"


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """A machine whose files are those that a test writes."""
    monkeypatch.setattr(cores, "ROOT", tmp_path)

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_free_memory_is_what_the_system_has_available(linux):
    linux({"proc/meminfo": MEMINFO})
    assert free_memory() == 9000 * 1024


@pytest.mark.parametrize(("limit", "expected"), [("5000000", 4_200_000), ("max", 9000 * 1024)])
def test_free_memory_keeps_to_the_least_group_of_version_2(linux, limit, expected):
    linux(
        {
            "proc/meminfo": MEMINFO,
            "proc/self/mountinfo": V2,
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
            "sys/fs/cgroup/a/b/memory.current": "700000\n",
            "sys/fs/cgroup/a/memory.max": f"{limit}\n",
            "sys/fs/cgroup/a/memory.current": "1000000\n",
            "sys/fs/cgroup/a/memory.stat": "anon 800000\ninactive_file 200000\n",
        }
    )
    assert free_memory() == expected


def test_free_memory_keeps_to_a_group_of_version_1(linux):
    linux(
        {
            "proc/meminfo": MEMINFO,
            "proc/self/mountinfo": V1,
            "proc/self/cgroup": "7:memory:/job\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "3000000\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "4000000\n",
        }
    )
    assert free_memory() == 0


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="no sysconf here")
def test_half_of_the_machine_is_free_where_nothing_else_is_known(linux):
    assert free_memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
