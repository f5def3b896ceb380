"""What pyproject.toml asks for and constraints.txt pins."""

import itertools
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = sorted(PROJECT["optional-dependencies"])


def read_pins(text: str) -> dict[str, Version]:
    """Map each package of a requirements file to the version that it is pinned to."""
    pins = {}
    for line in text.splitlines():
        content = line.split("#")[0].strip()
        if content:
            requirement = Requirement(content)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", f"no pin: {content}"
            pins[canonicalize_name(requirement.name)] = Version(specifier.version)
    return pins


def read_constraints() -> dict[str, Version]:
    """Return the pins of constraints.txt."""
    return read_pins((ROOT / "constraints.txt").read_text())


def list_requirements(*extras: str) -> list[Requirement]:
    """List what pyproject.toml asks for, with some of its extras, this project itself left out."""
    lines = itertools.chain(
        PROJECT["dependencies"], *[PROJECT["optional-dependencies"][name] for name in extras]
    )
    requirements = [Requirement(line) for line in lines]
    return [requirement for requirement in requirements if requirement.name != PROJECT["name"]]
