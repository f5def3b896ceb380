"""The final names of what a printed file defines: those of the sources, made to differ."""

import ast
import re
from collections.abc import Sequence

from nas.export.ntire.program import Definition

TAKEN = ("torch", "nn", "F", "math")


def name_definitions(kept: Sequence[Definition], network: str) -> dict[str, str]:
    """Return the name of each definition, by its mark.

    Args:
        network: the name of the network's class, which no other may have.
    """
    groups: dict[str, list[Definition]] = {}
    for definition in kept:
        groups.setdefault(definition.name, []).append(definition)

    names: dict[str, str] = {}
    for name, group in groups.items():
        proposals = [name] if len(group) == 1 else _tell_apart(name, group)
        for definition, proposal in zip(group, proposals, strict=True):
            names[definition.mark] = _make_free(proposal, [network, *TAKEN, *names.values()])
    return names


def _tell_apart(name: str, group: Sequence[Definition]) -> list[str]:
    """Return names for definitions of one name: by where they come from, or what differs."""
    origins = {str(definition.origin) for definition in group}
    if len(origins) == len(group):
        return [name, *(_add_origin(name, definition) for definition in group[1:])]
    if len(origins) > 1:
        return [name] * len(group)

    # One class in several forms: the argument that differs says which.
    differing = [
        argument
        for argument in group[0].statics
        if len({str(definition.statics.get(argument)) for definition in group}) > 1
    ]
    # A truth value reads best: SharedStage.
    differing.sort(key=lambda argument: not isinstance(group[0].statics[argument], bool))
    for argument in differing:
        values = [definition.statics.get(argument) for definition in group]
        if len({str(value) for value in values}) == len(group):
            return [_add_value(name, definition, argument, values[0]) for definition in group]
    return [name] * len(group)


def _add_value(name: str, definition: Definition, argument: str, first: object) -> str:
    """Return a name that says what an argument is, unless it is the usual value."""
    value = definition.statics[argument]
    if isinstance(value, bool):
        return _capitalise(argument) + name if value else name
    if value == first:
        return name
    if isinstance(definition.node, ast.FunctionDef):
        return f"{name}_{value}"
    return f"Plain{name}" if value == "none" else name + _capitalise(str(value))


def _add_origin(name: str, definition: Definition) -> str:
    """Return a name after the file that it comes from."""
    module = getattr(definition.origin, "__module__", None) or definition.origin[0]
    place = module.rpartition(".")[2]
    if name.isupper():
        return f"{place.upper()}_{name}"
    if isinstance(definition.node, ast.ClassDef):
        return _capitalise(module.split(".")[-2]) + name
    return f"{place}_{name.lstrip('_')}"


def _capitalise(text: str) -> str:
    """Return text as a part of a class' name: leaky_relu_0.1 as LeakyRelu01."""
    words = re.sub(r"[^\w]", "", text).split("_")
    return "".join(word[:1].upper() + word[1:] for word in words)


def _make_free(name: str, taken: Sequence[str]) -> str:
    """Return a name, with a number behind it where it is taken."""
    if name not in taken:
        return name
    number = 2
    while f"{name}{number}" in taken:
        number += 1
    return f"{name}{number}"
