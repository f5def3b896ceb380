"""Values and objects that Python code gives to a search, in place of typed overrides."""

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.cli.annotations import describe
from nas.cli.invocation import UsageError
from nas.cli.message import part
from nas.cli.overrides import quoted
from nas.cli.targets import CLASSES, TARGET, lacking_members

OBJECT = "object"  # key of a stored configuration: the class of an object that no file may name
_WORD = re.compile(r"[A-Za-z_][\w./-]*")
_READ_AS_OTHERS = ("null", "none", "true", "false", "nan", "inf")  # words that are no text
_PLAIN = (str, bool, int, float, Path, type(None))  # classes of single values


def is_plain(value: object) -> bool:
    """Return whether a value can be typed: text, a number, a path, or a list or dict of these."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return isinstance(value, _PLAIN)


def write_overrides(key: str, value: Any) -> Iterator[str]:
    """Yield a plain value as overrides, of a dictionary one for each of its keys.

    Example:
        >>> list(write_overrides("proxy", {"steps": 400, "loss": "l1"}))
        ['proxy.steps=400', 'proxy.loss=l1']
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from write_overrides(f"{key}.{name}", inner)
    else:
        yield f"{key}={_write_value(value)}"


def check_object(key: str, value: object, hint: Any) -> None:
    """Check that an object is what a parameter takes.

    Args:
        hint: the parameter's annotation.
    Raises:
        UsageError: the object is of another class, or lacks methods of the protocol.
    """
    # A Protocol is checked by its members, so that the message can name what is missing.
    kinds = [kind for kind in (typing.get_args(hint) or (hint,)) if isinstance(kind, type)]
    protocols = [kind for kind in kinds if getattr(kind, "_is_protocol", False)]
    if any(isinstance(value, kind) for kind in kinds if kind not in protocols):
        return
    # A class in place of its object is the commonest slip.
    if isinstance(value, type):
        raise UsageError(
            f"{key}: expected an object, got the class {value.__name__}; "
            f"make one: {key}={value.__name__}(...)"
        )

    given = f"an object of {type(value).__name__}"
    for protocol in protocols:
        missing = sorted(lacking_members(value, protocol))
        if not missing:
            return
        given += f", which has no {' and no '.join(missing)}"

    ours = [kind.__name__ for kind in kinds if kind not in _PLAIN]
    expected = f"{'an' if ours[0][0] in 'AEIOU' else 'a'} {ours[0]}" if ours else describe(hint)
    raise UsageError(f"{key}: expected {expected}, got {given}")


def describe_object(value: Any) -> Any:
    """Return an object as plain values, as a run's configuration keeps it.

    A class that a file may name is kept so that a command can build it again. Of any other the name
    is kept, and its fields where it is a dataclass: they say whether two runs mean the same.
    """
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return {str(key): describe_object(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [describe_object(inner) for inner in value]

    # The class stands under a key of its own kind, so that nothing is built by mistake.
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    node = {TARGET if name in CLASSES else OBJECT: name}
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            node[field.name] = describe_object(getattr(value, field.name))

    return node


def is_described(node: object) -> bool:
    """Return whether a stored value describes an object that only Python can make again."""
    return isinstance(node, Mapping) and OBJECT in node


def refuse_objects(config: Mapping[str, Any]) -> None:
    """Check that a command can build a stored configuration without Python's help.

    Raises:
        UsageError: it holds an object that only Python can make again; key and class are named.
    """
    for key, node in config.items():
        if is_described(node):
            raise UsageError(
                f"its {key} is an object of Python, {part(str(node[OBJECT]))}; give it again: "
                f"nas.Search(run=..., {key}=...)"
            )


def _write_value(value: Any) -> str:
    """Return a plain value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_write_value, value))}]"
    if isinstance(value, Mapping):
        pairs = (f"{key}: {_write_value(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, int | float):
        return repr(value)

    # A word that reads as itself stands alone; all other text in quotes.
    text = str(value)
    is_word = _WORD.fullmatch(text) and text.lower() not in _READ_AS_OTHERS
    return text if is_word else quoted(text)
