"""Templates of blocks and frames: plain data in which some values are choices."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search_spaces.chooser import Chooser
from search_spaces.spec import Scalar

_REFERENCE = re.compile(r"\$(\w+)(?:([*/])(\d+))?")


def pick(chooser: Chooser, name: str, options: Sequence[Scalar]) -> Scalar:
    """One of some options; a single one is no decision."""
    return options[0] if len(options) == 1 else chooser.pick(name, options)


def value(template: Any, name: str, chooser: Chooser, known: Mapping[str, Scalar]) -> Scalar:
    """What stands for one value: itself, a list to choose from, or `$name`, `$name/2`, `$name*2`."""
    found: Scalar = pick(chooser, name, template) if isinstance(template, list) else template
    match = _REFERENCE.fullmatch(found) if isinstance(found, str) else None
    if match is None:
        return found
    held = known[match[1]]
    if match[2] is None:
        return held
    assert isinstance(held, int | float)
    factor = int(match[3])
    return int(held * factor) if match[2] == "*" else int(held // factor)


def args(
    template: Mapping[str, Any], name: str, chooser: Chooser, known: Mapping[str, Scalar]
) -> dict[str, Any]:
    """A part of a network with its choices taken.

    Args:
        name: of its decisions: `name.argument`.
        known: what `$` may name.
    """
    found: dict[str, Any] = {}
    for key, one in template.items():
        if key == "blocks":
            found[key] = [args(block, f"{name}.{i}", chooser, known) for i, block in enumerate(one, start=1)]
        elif isinstance(one, Mapping):
            found[key] = args(one, f"{name}.{key}", chooser, known)
        else:
            found[key] = value(one, f"{name}.{key}", chooser, known)
    return found


def alternatives(template: Any) -> Mapping[str, Any]:
    """What may stand for a layer or a list of them, by name; a single one has none."""
    return template if isinstance(template, Mapping) and "kind" not in template else {"": template}


def references(template: Any) -> Iterator[str]:
    """The names that a template refers to by `$`."""
    if isinstance(template, str):
        if template.startswith("$"):
            match = _REFERENCE.fullmatch(template)
            yield match[1] if match else template
    elif isinstance(template, Mapping):
        for one in template.values():
            yield from references(one)
    elif isinstance(template, list):
        for one in template:
            yield from references(one)
