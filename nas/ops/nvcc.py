"""Builds a CUDA source into a shared library for one architecture, once a machine, and loads it.

A library lies in the user's cache folder under a name made of everything that goes into it: sources, flags,
architecture and compiler. It is written beside its place and moved there, under a lock, so that processes
that want the same one at once build it once and never load half of it.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from nas.system.file_locks import FileLock
from nas.system.user_cache import user_cache

FLAGS = ("-std=c++17", "-O3", "-shared", "-Xcompiler", "-fPIC", "-Xcompiler", "-fvisibility=hidden")
TIMEOUT_S = 600


class BuildError(RuntimeError):
    """A CUDA source could not be built or loaded; the message is one line and says why."""


def find_nvcc() -> Path | None:
    """nvcc in CUDA_HOME, on the PATH or in /usr/local/cuda; None: it is not there."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    on_path = shutil.which("nvcc")
    for found in [
        *(Path(home) / "bin/nvcc" for home in homes[:2] if home),
        on_path,
        Path(str(homes[2])) / "bin/nvcc",
    ]:
        if found and Path(found).is_file():
            return Path(found)
    return None


def architecture(device: torch.device) -> str:
    """nvcc's name of a device's architecture, such as `sm_90`."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def load(source: Path, *, arch: str, defines: Mapping[str, str | int] | None = None) -> ctypes.CDLL:
    """Build a source if it is not in the cache yet, and load it.

    Args:
        source: a .cu file; every .cu and .cuh beside it counts as part of it.
        arch: as `architecture` gives it.
        defines: macros.
    Raises:
        BuildError: no nvcc, it fails, or its result cannot be loaded.
    """
    built = build(source, arch=arch, defines=defines)
    try:
        return ctypes.CDLL(str(built))
    except OSError as error:
        raise BuildError(f"{built} cannot be loaded: {error}") from error


def build(source: Path, *, arch: str, defines: Mapping[str, str | int] | None = None) -> Path:
    """The path of the built library; see `load`."""
    nvcc = find_nvcc()
    if nvcc is None:
        raise BuildError("no nvcc in CUDA_HOME, on the PATH or in /usr/local/cuda")
    flags = [
        *FLAGS,
        f"-arch={arch}",
        *(f"-D{name}={value}" for name, value in (defines or {}).items()),
    ]
    try:
        name = f"{source.stem}-{_digest(source, flags, _version(nvcc))}"
        folder = user_cache("cuda")
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{name}.so"
        with FileLock(folder / f"{name}.lock"):
            if not place.exists():
                _compile(nvcc, flags, source, place)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise BuildError(f"{source.name} could not be built: {error}") from error
    return place


def _compile(nvcc: Path, flags: list[str], source: Path, place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        made = Path(folder) / "library.so"
        command = [str(nvcc), *flags, "-o", str(made), str(source)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        if done.returncode != 0:
            said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            wrong = next(
                (line for line in said if "error" in line.lower() or "fatal" in line.lower()), ""
            )
            raise BuildError(
                f"nvcc failed on {source.name}: {wrong or (said or ['it says nothing'])[0]}"
            )
        made.replace(place)


def _digest(source: Path, flags: list[str], version: str) -> str:
    digest = hashlib.sha256("\0".join([source.name, version, *flags]).encode())
    for part in sorted([*source.parent.glob("*.cu"), *source.parent.glob("*.cuh")]):
        digest.update(part.name.encode() + b"\0" + part.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


@cache
def _version(nvcc: Path) -> str:
    done = subprocess.run(
        [str(nvcc), "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout
