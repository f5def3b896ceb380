"""The pins and the lower bounds can be installed wherever we say so, by PyPI's metadata alone."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from packaging.requirements import Requirement

from tests.packaging.pins import EXTRAS, ROOT, list_requirements, read_constraints, read_pins

# What torch's wheels ask for: glibc 2.28 or macOS 14.
PLATFORMS = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin"]
PYTHONS = ["3.11", "3.12", "3.13"]
SOURCE_ONLY = [
    "antlr4-python3-runtime",
    "fvcore",
    "iopath",
]  # pure Python, published without a wheel
UNREACHABLE = ["error sending request", "Failed to fetch", "Request failed", "operation timed out"]


def resolve(*options: str) -> str:
    """Return what uv would install of this project; skip the test where PyPI does not answer."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "pyproject.toml",
        "--only-binary=:all:",
    ]
    command += [f"--no-binary={name}" for name in SOURCE_ONLY]
    command += ["--quiet", "--no-config", "--no-annotate", "--no-header", *options]
    # No index or folder of the user's own: the pins have to resolve for a stranger.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))
    }
    environment |= {"MACOSX_DEPLOYMENT_TARGET": "14.0"}

    # What a version asks for never changes: PyPI is asked only for what uv's cache lacks.
    for connection in (["--offline"], []):
        done = subprocess.run(
            command + connection,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
    if any(words in done.stderr for words in UNREACHABLE):
        pytest.skip(f"PyPI does not answer: {done.stderr.splitlines()[0]}")
    pytest.fail(done.stderr)


def find_lowest(requirement: Requirement) -> str:
    """Return the lowest version that a requirement allows."""
    (lowest,) = [each.version for each in requirement.specifier if each.operator == ">="]
    return lowest


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("uv") is None, reason="uv is not installed: pip install 'esr-nas[test]'"
    ),
    pytest.mark.parametrize("python", PYTHONS),
    pytest.mark.parametrize("platform", PLATFORMS),
]


def test_pins_resolve_from_wheels(platform, python):
    pins = read_constraints()
    target = [
        f"--python-platform={platform}",
        f"--python-version={python}",
        "--constraints=constraints.txt",
    ]
    for extras in (
        EXTRAS,
        *[[extra] for extra in EXTRAS],
        [],
    ):  # all of them first: the others are parts of it
        resolved = read_pins(resolve(*target, *[f"--extra={extra}" for extra in extras]))
        assert resolved.items() <= pins.items(), extras
        assert ("triton" in resolved) == (
            "linux" in platform
        )  # PyPI's torch for Linux is the CUDA build


def test_lowest_versions_have_wheels(platform, python, tmp_path):
    lowest = tmp_path / "lowest.txt"
    requirements = list_requirements("onnx", "triton")
    lowest.write_text("".join(f"{each.name}=={find_lowest(each)}\n" for each in requirements))
    target = [
        f"--python-platform={platform}",
        f"--python-version={python}",
        f"--constraints={lowest}",
    ]
    resolved = read_pins(resolve(*target, "--extra=onnx", "--extra=triton"))
    names = {each.name for each in requirements} - (set() if "linux" in platform else {"triton"})
    assert names <= resolved.keys()
