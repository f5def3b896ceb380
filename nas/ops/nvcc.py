"""Builds a CUDA source into a shared library for one architecture, once a machine, and loads it.

The library is kept in the user's cache folder, which nobody else may write. Its name is a hash of
all that goes into it: sources, flags, architecture and compiler. It is written beside its place and
moved there, under a lock: so processes that ask for the same library at once build it once, and
never load half of it.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from nas.system.files.owned_folder import OwnedFolder
from nas.system.files.user_cache import private_cache
from nas.system.lock_waits import hold_file

FLAGS = ("-std=c++17", "-O3", "-shared", "-Xcompiler", "-fPIC", "-Xcompiler", "-fvisibility=hidden")
TIMEOUT_S = 600


class BuildError(RuntimeError):
    """A CUDA source could not be built or loaded; the message is one line and says why."""


def find_nvcc() -> Path | None:
    """Return nvcc in CUDA_HOME, on the PATH or in /usr/local/cuda; None: there is none."""
    # What the user names goes before what is on the PATH, and that before the usual place.
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    candidates = [Path(home) / "bin/nvcc" for home in homes if home]
    if on_path := shutil.which("nvcc"):
        candidates.append(Path(on_path))
    candidates.append(Path("/usr/local/cuda/bin/nvcc"))
    return next((path for path in candidates if path.is_file()), None)


def architecture(device: torch.device) -> str:
    """Return nvcc's name of a device's architecture, such as `sm_90`."""
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
    """Build a source if it is not in the cache yet, and return the library's path; see `load`."""
    nvcc = find_nvcc()
    if nvcc is None:
        raise BuildError("no nvcc in CUDA_HOME, on the PATH or in /usr/local/cuda")
    macros = [f"-D{name}={value}" for name, value in (defines or {}).items()]
    flags = [*FLAGS, f"-arch={arch}", *macros]

    try:
        name = f"{source.stem}-{_hash_sources(source, flags, _read_version(nvcc))}"
        folder = private_cache("cuda")  # what lies there is loaded as code
        place = folder / f"{name}.so"

        # Who waited for the lock finds the library that the other process built.
        with hold_file(folder / f"{name}.lock", what=f"the build of {source.name}"):
            if not place.exists():
                _compile_source(nvcc, flags, source, place)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise BuildError(f"{source.name} could not be built: {error}") from error
    return place


def _compile_source(nvcc: Path, flags: list[str], source: Path, place: Path) -> None:
    # In the same file system, so that the library is moved into place whole.
    with OwnedFolder(place.parent) as folder:
        library = folder / "library.so"
        command = [str(nvcc), *flags, "-o", str(library), str(source)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        if done.returncode != 0:
            fault = _find_fault(done.stderr + done.stdout)
            raise BuildError(f"nvcc failed on {source.name}: {fault}")
        library.replace(place)


def _find_fault(output: str) -> str:
    """Return the line of a compiler's output that tells what is wrong."""
    lines = [line for line in output.splitlines() if line.strip()]
    for line in lines:
        if "error" in line.lower() or "fatal" in line.lower():
            return line
    return lines[0] if lines else "it says nothing"


def _hash_sources(source: Path, flags: list[str], version: str) -> str:
    # Headers count too: any file beside the source may be included by it.
    digest = hashlib.sha256("\0".join([source.name, version, *flags]).encode())
    for part in sorted([*source.parent.glob("*.cu"), *source.parent.glob("*.cuh")]):
        digest.update(part.name.encode() + b"\0" + part.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


@cache
def _read_version(nvcc: Path) -> str:
    done = subprocess.run(
        [str(nvcc), "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout
