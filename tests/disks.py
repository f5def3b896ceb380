"""Small disks for tests, which fill up."""

import contextlib
import os
import subprocess
import sys

import pytest


@contextlib.contextmanager
def mounted(place, options):
    """A small file system of its own at a folder; needs root."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    may_mount = sys.platform == "linux" and os.geteuid() == 0
    if not may_mount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(path):
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 512)
