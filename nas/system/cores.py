"""The number of CPU cores that this process may use."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")  # of the file system in which Linux tells of control groups


def num_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    The least of three numbers: the machine's cores; those to which this process is bound, where the
    system binds processes; and the time quota of its control groups in whole cores, as of `docker
    run --cpus=2`.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))

    return max(1, min([cores, *(int(quota) for quota in _list_quotas())]))


def _list_quotas() -> Iterator[float]:
    """Yield the quota, in cores, of each control group that holds this process and has one."""
    for group in list_groups("cpu"):
        yield from _read_quota(group)


def _read_quota(group: Path) -> Iterator[float]:
    """Yield what a group's files allow: cpu.max of version 2, cpu.cfs_quota_us of version 1."""
    words = read_text(group / "cpu.max").split()
    if len(words) != 2:
        words = [
            *read_text(group / "cpu.cfs_quota_us").split(),
            *read_text(group / "cpu.cfs_period_us").split(),
        ]

    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]) > 0:
        yield int(words[0]) / int(words[1])  # "max" and -1 are no quota


def list_groups(controller: str) -> Iterator[Path]:
    """Yield the folder of each control group that holds this process, the innermost first.

    Args:
        controller: of version 1, such as "cpu"; version 2 has one hierarchy for all.
    """
    for folder, top in _list_innermost(controller):
        for group in (folder, *folder.parents):
            yield group
            if group == top:
                break


def _list_innermost(controller: str) -> Iterator[tuple[Path, Path]]:
    """Yield the folder of the innermost group, and its hierarchy's folder.

    Inside a container the group's path may be the host's, of which only the container's part is
    mounted: what is not there below the hierarchy's folder is read at that folder.
    """
    own = dict(_list_own_groups())

    for mount in read_text(ROOT / "proc/self/mountinfo").splitlines():
        # proc(5): the mount, then a dash, then kind, device and options.
        fields, _, source = mount.partition(" - ")
        kind, options = source.split()[0], source.split()[-1].split(",")
        if kind == "cgroup2" or (kind == "cgroup" and controller in options):
            inside, folder = fields.split()[3:5]
            top = ROOT / folder.lstrip("/")
            path = PurePosixPath(own.get("" if kind == "cgroup2" else controller, "/"))
            part = path.relative_to(inside) if path.is_relative_to(inside) else PurePosixPath()
            yield (top / part if (top / part).is_dir() else top), top


def _list_own_groups() -> Iterator[tuple[str, str]]:
    """Yield the path of this process's group by controller; under "" that of version 2."""
    for line in read_text(ROOT / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            yield name, path


def read_text(path: Path) -> str:
    """Return a file's text; empty where it is not there, as everywhere but on Linux."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
