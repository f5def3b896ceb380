"""constraints.txt pins all that is installed, to versions that pyproject.toml allows."""

from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.pins import EXTRAS, PROJECT, list_requirements, read_constraints

PINS = read_constraints()


def walk_closure(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> None:
    """Add to `seen` each (package, extras) that a package brings, as far as it is installed here."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:  # an extra that this environment lacks
        return
    for requirement in map(Requirement, lines):
        markers = [{"extra": extra} for extra in extras or {""}]
        if requirement.marker is None or any(
            requirement.marker.evaluate(values) for values in markers
        ):
            walk_closure(canonicalize_name(requirement.name), frozenset(requirement.extras), seen)


@pytest.mark.parametrize(
    "requirement", list_requirements(*EXTRAS), ids=lambda requirement: requirement.name
)
def test_pin_lies_within_the_bounds(requirement):
    assert PINS[canonicalize_name(requirement.name)] in requirement.specifier


def test_pins_hold_the_whole_closure():
    seen = set()
    walk_closure(PROJECT["name"], frozenset(EXTRAS), seen)
    names = {name for name, _ in seen} - {PROJECT["name"]}
    assert len(names) > len(PROJECT["dependencies"])
    assert names - PINS.keys() == set()
