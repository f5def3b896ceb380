"""Templates of blocks and frames: plain data in which some values are choices."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search_spaces.spec import Scalar

RULES = ("multiple_of", "after")  # where a layer may stand: no arguments
REFERENCE = re.compile(r"\$(\w+)(?:([*/])(\d+|\$\w+))?")

Picks = Mapping[str, Scalar]  # what was chosen, by the names of the decisions


def decisions(template: Any, name: str) -> Iterator[tuple[str, Sequence[Scalar]]]:
    """Yield what a layer, a list or a value leaves open: `name.argument` and its options."""
    if isinstance(template, Mapping):
        for key, value in template.items():
            if key not in RULES:
                yield from decisions(value, f"{name}.{key}")
    elif is_chain(template):
        for i, layer in enumerate(template, start=1):
            yield from decisions(layer, f"{name}.{i}")
    elif isinstance(template, list) and len(template) > 1:  # a single option is no decision
        yield name, template


def decided(template: Any, name: str, picks: Picks, known: Picks) -> Any:
    """Return a layer, a list of layers or a value with its choices taken.

    Args:
        name: of its decisions, as `decisions` has it.
        known: values of the named choices, which `$name` stands for.
    """
    if isinstance(template, Mapping):
        return {
            key: decided(value, f"{name}.{key}", picks, known)
            for key, value in template.items()
            if key not in RULES
        }
    if is_chain(template):
        return [
            decided(layer, f"{name}.{i}", picks, known) for i, layer in enumerate(template, start=1)
        ]

    # A list of values is a choice; a list of layers is a chain, and stays one.
    if isinstance(template, list):
        template = picks.get(name, template[0])
    return _resolve_reference(template, known) if isinstance(template, str) else template


def _resolve_reference(text: str, known: Picks) -> Scalar:
    """Return what a word stands for: itself, or the value of `$name`, or a share of it.

    A share is `$name/2`, `$name*2` or, by the value of another choice, `$name*$other`.
    """
    # Most words are themselves: kinds, activations, attentions.
    match = REFERENCE.fullmatch(text)
    if match is None:
        return text
    value = known[match[1]]
    if match[2] is None:
        return value
    factor = known[match[3][1:]] if match[3].startswith("$") else int(match[3])
    assert isinstance(value, int)
    assert isinstance(factor, int)
    return value * factor if match[2] == "*" else value // factor


def is_chain(template: Any) -> bool:
    """Return whether it is a list of layers, all of which are made, and not a list of options."""
    return isinstance(template, list) and all(isinstance(layer, Mapping) for layer in template)


def layers(template: Any) -> list[Mapping[str, Any]]:
    """List the layers of a part: one, several, or none where it is a value."""
    return template if is_chain(template) else [template] if isinstance(template, Mapping) else []


def fits(template: Any, channels: int) -> bool:
    """Return whether the layers of a part may stand between features of so many channels."""
    return all(channels % int(layer.get("multiple_of", 1)) == 0 for layer in layers(template))


def alternatives(template: Any) -> Mapping[str, Any]:
    """Return what may stand for a layer or a list of them, by name; a single one has no name."""
    return template if isinstance(template, Mapping) and "kind" not in template else {"": template}


def referred(match: re.Match[str]) -> list[str]:
    """List the named choices of a reference: the one that it is of, and that of its factor."""
    factor = match[3] or ""
    return [match[1], factor[1:]] if factor.startswith("$") else [match[1]]


def references(template: Any) -> Iterator[str]:
    """Yield what a template refers to: `$name`, `$name/2`, `$name*2`, `$name*$other`."""
    if isinstance(template, str):
        if template.startswith("$"):
            yield template
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from references(value)
    elif isinstance(template, list):
        for value in template:
            yield from references(value)
