"""The schema of the configuration is the constructors' annotations: check values, then build."""

import dataclasses
import json
import math
import re
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from nas.cli.annotations import (
    LISTS,
    UNIONS,
    Hint,
    classes_of,
    describe,
    name_of,
    origin_of,
    read_parameters,
)
from nas.cli.invocation import USER_ERRORS, UsageError, did_you_mean
from nas.cli.message import part
from nas.cli.targets import TARGET, check_name, fits, locate
from nas.system.schema.schema_rules import LARGEST, show_digits

_RESERVED = re.compile(r"_[a-z]+_")  # Hydra's words among keys: _target_, _partial_, _args_, ...


class Call(dict[str, Any]):
    """A checked node that may be built: `build` calls the class of these and of no other mapping.

    Attributes:
        cls: the class, which a `_target_` names or the annotation alone allows.
    """

    def __init__(self, cls: type, node: Mapping[str, Any]) -> None:
        super().__init__(node)
        self.cls = cls


def check(
    function: Callable[..., object],
    node: Mapping[str, Any],
    typed: Mapping[str, str] | None = None,
    path: str = "",
    given: Collection[str] = (),
) -> dict[str, Any]:
    """Check the keys and values of a node against the parameters of what it calls.

    Args:
        typed: values as the user typed them, by key: a number meant for a text parameter stays as
            it was typed.
        path: the dotted key of the node, for messages.
        given: parameters that the caller passes itself.
    Returns:
        The node with its values in the annotated types (3 for a float is 3.0).
    Raises:
        UsageError: a key is unknown or missing, or a value has another type.

    Example:
        >>> def run(trials: int, hours: float | None = None) -> None: ...
        >>> check(run, {"trials": 3, "hours": 1})
        {'trials': 3, 'hours': 1.0}
    """
    # Unknown keys are refused first: a misspelt one is missing too, and the hint is better.
    hints, required = read_parameters(function)
    known = [name for name in hints if name not in given]
    checked: dict[str, Any] = {}
    for key, value in node.items():
        if key == TARGET:
            checked[key] = value
        elif key not in known:
            raise UsageError(
                f"unknown key {part(_join(path, str(key)))!r}: {name_of(function)} takes "
                f"{', '.join(known) or 'no keys'}" + did_you_mean(str(key), known)
            )
        else:
            checked[key] = conform(value, hints[key], _join(path, key), typed or {})

    # Only what has no default must be given; the first one is named.
    absent = [name for name in required if name not in node and name not in given]
    if absent:
        missing(_join(path, absent[0]), hints[absent[0]])
    return checked


def conform(value: Any, hint: Hint, path: str, typed: Mapping[str, str]) -> Any:
    """Return a value in the annotated type.

    Args:
        path: the value's dotted key.
        typed: as of `check`.
    Raises:
        UsageError: the value does not fit; the message names the key.
    """
    if value == "???":
        return missing(path, hint)

    # A node with a _target_ comes first: no other annotation may take it for a plain mapping.
    if isinstance(value, dict):
        reserved = [key for key in value if _RESERVED.fullmatch(str(key))]
        if reserved:
            return _conform_node(value, reserved, hint, path, typed)
        # Where one class alone fits, its name says nothing that is not known.
        classes = classes_of(hint)
        if len(classes) == 1 and dataclasses.is_dataclass(classes[0]):
            return Call(classes[0], check(classes[0], value, typed, path))
    if hint is Any or hint is object or isinstance(hint, typing.TypeVar):
        return _conform_anything(value, path, typed)

    arguments = typing.get_args(hint)

    # From here the annotation says what to do with the value.
    origin = origin_of(hint)
    if origin in UNIONS:
        return _conform_union(value, arguments, path, typed)
    if origin is Literal:
        return _conform_literal(value, hint, path, typed)
    if origin in LISTS and isinstance(value, list):
        return _conform_list(value, origin, arguments, path, typed)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        item = arguments[1] if len(arguments) == 2 else Any
        return {
            key: conform(inner, item, _join(path, str(key)), typed) for key, inner in value.items()
        }

    return _conform_scalar(value, hint, path, typed)


def missing(path: str, hint: Hint) -> typing.NoReturn:
    """Refuse a value that only the user can give.

    Raises:
        UsageError: always.
    """
    raise UsageError(f"{path} has to be given: {path}=VALUE, {describe(hint)}")


def build(node: Any, path: str = "") -> Any:
    """Call the class of every `Call` of a checked tree, the innermost first.

    Raises:
        ValueError, OSError, OverflowError, MemoryError: a constructor refused its values; a note of
            the error holds the key of its node.
    """
    if isinstance(node, list | tuple | set | frozenset):
        return type(node)(build(item, f"{path}[{place}]") for place, item in enumerate(node))
    if not isinstance(node, dict):
        return node

    # The innermost objects first: the outer ones take them as arguments.
    parts = {key: build(item, _join(path, key)) for key, item in node.items() if key != TARGET}

    # A mapping that only looks like a node was never checked, and runs nothing.
    if not isinstance(node, Call):
        return parts

    try:
        return node.cls(**parts)
    except USER_ERRORS as error:
        error.add_note(path)
        raise


def plain(node: Any) -> Any:
    """Return a checked tree as JSON and YAML hold it: lists and text alone."""
    if isinstance(node, dict):
        return {key: plain(item) for key, item in node.items()}
    if isinstance(node, list | tuple | set | frozenset):
        return [plain(item) for item in node]
    return str(node) if isinstance(node, Path) else node


def _conform_node(
    value: dict[str, Any],
    reserved: Sequence[str],
    hint: Hint,
    path: str,
    typed: Mapping[str, str],
) -> Call:
    """Check a node that names a class: its name before anything is imported, then the class.

    Args:
        reserved: Hydra's words among its keys; all but `_target_` would be instructions to Hydra.
    """
    classes = classes_of(hint)

    # Hydra would call functions, or leave objects half built, by the other words.
    if list(reserved) != [TARGET] or not classes:
        other = next((key for key in reserved if key != TARGET), TARGET)
        raise UsageError(f"{_join(path, other)} is not read: expected {describe(hint)} in {path}")

    check_name(value[TARGET], path)
    cls = locate(value[TARGET], path)
    if not any(fits(cls, allowed) for allowed in classes):
        raise UsageError(f"{path}: expected {describe(hint)}, got a {name_of(cls)}")
    return Call(cls, check(cls, value, typed, path))


def _conform_anything(value: Any, path: str, typed: Mapping[str, str]) -> Any:
    """Return a value of any type; what lies within it is checked for reserved words."""
    if isinstance(value, dict):
        return {
            key: conform(inner, Any, _join(path, str(key)), typed) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [conform(item, Any, f"{path}[{place}]", typed) for place, item in enumerate(value)]
    return value


def _conform_literal(value: Any, hint: Hint, path: str, typed: Mapping[str, str]) -> Any:
    """Return the value, or the text that was typed for it, where the annotation lists it."""
    allowed = typing.get_args(hint)
    for candidate in (value, typed.get(path)):
        # True and 1 are equal, and mean different things.
        if any(candidate == item and type(candidate) is type(item) for item in allowed):
            return candidate
    close = did_you_mean(str(value), [str(item) for item in allowed])
    raise UsageError(_say_expected(path, value, hint) + close)


def _conform_union(value: Any, arms: Sequence[Hint], path: str, typed: Mapping[str, str]) -> Any:
    """Return the value in the type of an arm, of its own type if one is."""
    if value is None and type(None) in arms:
        return None
    others = [arm for arm in arms if arm is not type(None)]

    # With one arm beside null its message is the better one: it knows the key within the value.
    if len(others) == 1 and value is not None:
        try:
            return conform(value, others[0], path, typed)
        except UsageError as error:
            if len(arms) > 1 and not isinstance(value, dict | list):
                raise UsageError(str(error).replace(", got ", " or null, got ", 1)) from error
            raise

    results = []
    for arm in others:
        try:
            results.append(conform(value, arm, path, typed))
        except UsageError:
            continue

    if not results:
        union: Any = typing.Union[tuple(arms)]  # noqa: UP007 - of arms that are values here
        raise UsageError(_say_expected(path, value, union))

    return next((result for result in results if type(result) is type(value)), results[0])


def _conform_list(
    value: list[Any], origin: Any, arguments: tuple[Hint, ...], path: str, typed: Mapping[str, str]
) -> Any:
    # tuple[int, int] has a type for each item, tuple[int, ...] and the others have one for all.
    fixed = origin is tuple and bool(arguments) and arguments[-1] is not Ellipsis
    if fixed and len(value) != len(arguments):
        raise UsageError(
            f"{path}: expected {len(arguments)} items, got {len(value)}: {part(str(value))}"
        )

    hints = arguments if fixed else (arguments[:1] or (Any,)) * len(value)

    # An item is named by its place: latency.sizes[1].
    items = [
        conform(item, hint, f"{path}[{place}]", typed)
        for place, (item, hint) in enumerate(zip(value, hints, strict=True))
    ]
    return origin(items) if origin in (tuple, set, frozenset) else items


def _conform_scalar(value: Any, kind: Hint, path: str, typed: Mapping[str, str]) -> Any:
    """Return a number, text, path or truth value in its type, or refuse it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number:
        _check_number(value, kind, path)
    if kind is float and is_number:
        return float(value)
    if kind is int and is_number and float(value).is_integer():
        return int(value)

    # run=007 and run=1e3 are names: as they were typed.
    if kind is str and path in typed and isinstance(value, bool | int | float):
        return typed[path]
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (str, bool) and type(value) is kind:
        return value
    raise UsageError(_say_expected(path, value, kind))


def _check_number(value: float, kind: Hint, path: str) -> None:
    """Check that a number is finite, and no larger than what arrays and tables hold.

    Raises:
        UsageError: it is not.
    """
    # NaN and infinity have no place in JSON, and pass every comparison unseen.
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{path}: {value} is not a value; a number must be finite")
    # Tables and arrays hold 64 bits; a float of that size is a whole number.
    if abs(value) <= LARGEST:
        return
    if isinstance(value, int) and kind in (int, float):
        raise UsageError(
            f"{path}: {show_digits(value)} is too large; a number must be at most {LARGEST}"
        )
    if kind is int:
        raise UsageError(
            f"{path}: {value:g} is too large; a whole number must be at most {LARGEST}"
        )


def _say_expected(path: str, value: Any, hint: Hint) -> str:
    return f"{path}: expected {describe(hint)}, got {_show_value(value)}"


def _show_value(value: Any) -> str:
    """Return what a message shows of a value: its beginning, as JSON."""
    if isinstance(value, int) and not isinstance(value, bool):
        return show_digits(value)
    try:
        return part(json.dumps(plain(value), ensure_ascii=False, default=str))
    except (ValueError, RecursionError):  # a number of more digits than Python prints
        return f"a {type(value).__name__} that cannot be shown"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
