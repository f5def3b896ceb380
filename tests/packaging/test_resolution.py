"""The pins can be installed on every platform, Python and extra, by PyPI's metadata alone."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.packaging.pins import EXTRAS, ROOT, read_constraints, read_pins

# What torch's wheels ask for: glibc 2.28 or macOS 14.
PLATFORMS = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin"]
PYTHONS = ["3.11", "3.12", "3.13"]
SOURCE_ONLY = ["antlr4-python3-runtime", "fvcore", "iopath"]  # pure Python, published without a wheel
UNREACHABLE = ["error sending request", "Failed to fetch", "Request failed", "operation timed out"]


def resolve_pins(platform: str, python: str, extras: list[str]) -> str:
    """Return what uv would install under constraints.txt; skip the test where PyPI does not answer."""
    options = [f"--python-platform={platform}", f"--python-version={python}", "--only-binary=:all:"]
    options += [f"--no-binary={name}" for name in SOURCE_ONLY] + [f"--extra={extra}" for extra in extras]
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "pyproject.toml",
        "--constraints=constraints.txt",
    ]
    command += ["--quiet", "--no-config", "--no-annotate", "--no-header", *options]
    # No index or folder of the user's own: the pins have to resolve for a stranger.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    environment |= {"MACOSX_DEPLOYMENT_TARGET": "14.0"}

    # What a version asks for never changes: PyPI is asked only for what uv's cache lacks.
    for connection in (["--offline"], []):
        done = subprocess.run(
            command + connection, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return done.stdout
    if any(words in done.stderr for words in UNREACHABLE):
        pytest.skip(f"PyPI does not answer: {done.stderr.splitlines()[0]}")
    pytest.fail(done.stderr)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("uv") is None, reason="uv is not installed: pip install 'esr-nas[test]'")
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_pins_resolve_from_wheels(platform, python):
    pins = read_constraints()
    for extras in (
        EXTRAS,
        *[[extra] for extra in EXTRAS],
        [],
    ):  # all of them first: the others are parts of it
        resolved = read_pins(resolve_pins(platform, python, extras))
        assert resolved.items() <= pins.items(), extras
        assert ("triton" in resolved) == ("linux" in platform)  # PyPI's torch for Linux is the CUDA build
