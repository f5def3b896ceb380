"""The memory that this process may still take."""

import os
from collections.abc import Iterator
from pathlib import Path

from nas.system import cores


def free_memory() -> int | None:
    """Return the bytes of memory that are free to this process.

    The least of what the system has available and what the process's control groups leave, as of
    `docker run --memory=4g`; where only the machine's whole memory is known, half of it.

    None: the system tells nothing.
    """
    amounts = [*_read_available(), *_list_group_rests()]
    if amounts:
        return max(0, min(amounts))
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _read_available() -> Iterator[int]:
    for line in cores.read_text(cores.ROOT / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _list_group_rests() -> Iterator[int]:
    """Yield what each control group leaves of its limit: files of version 2, then of version 1."""
    pairs = (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    )
    for group in cores.list_groups("memory"):
        for limit_file, used_file in pairs:
            limit = cores.read_text(group / limit_file).strip()
            used = cores.read_text(group / used_file).strip()
            if limit.isdigit() and used.isdigit():  # "max" is no limit
                yield int(limit) - int(used) + _read_cached(group)


def _read_cached(group: Path) -> int:
    """Return the bytes of files that a group holds in memory and would give up at once."""
    stat = dict(line.split() for line in cores.read_text(group / "memory.stat").splitlines())
    return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
