"""Constructors' annotations are the schema of the configuration: check values against them, then build."""

import inspect
import json
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from nas.cli.invocation import UsageError, did_you_mean
from nas.cli.message import part
from nas.cli.targets import TARGET, check_name, fits, locate

Hint = Any  # an annotation
USER_ERRORS = (ValueError, OSError, OverflowError, MemoryError)
LARGEST = 2**63 - 1  # whole number: what arrays, seeds and tables hold
_RESERVED = re.compile(r"_[a-z]+_")  # Hydra's words among keys: _target_, _partial_, _args_, ...
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Path: "a path",
}
_LISTS = (list, tuple, set, frozenset, Sequence, Collection, Iterable)


class Call(dict[str, Any]):
    """A checked node whose `_target_` may be built: `build` calls these and no other mapping."""


def check(
    function: Callable[..., object],
    node: Mapping[str, Any],
    typed: Mapping[str, str] | None = None,
    path: str = "",
    given: Collection[str] = (),
) -> dict[str, Any]:
    """Check the keys and values of a node against the parameters of what it calls.

    Args:     typed: what the user typed, by key: a number meant for a text parameter stays as it was typed.
              given: parameters that the caller passes itself.
    Returns:  the node with its values in the annotated types (3 for a float is 3.0).
    Raises:   UsageError: a key is unknown or missing, or a value has another type.
    """
    hints, required = _parameters(function)
    known = [name for name in hints if name not in given]
    checked: dict[str, Any] = {}
    for key, value in node.items():
        if key == TARGET:
            checked[key] = value
        elif key not in known:
            raise UsageError(
                f"unknown key {part(_join(path, str(key)))!r}: {_name(function)} takes "
                f"{', '.join(known) or 'no keys'}" + did_you_mean(str(key), known)
            )
        else:
            checked[key] = conform(value, hints[key], _join(path, key), typed or {})
    absent = [name for name in required if name not in node and name not in given]
    if absent:
        missing(_join(path, absent[0]), hints[absent[0]])
    return checked


def conform(value: Any, hint: Hint, path: str, typed: Mapping[str, str]) -> Any:
    """Give the value in the annotated type, or refuse it by its key."""
    if value == "???":
        return missing(path, hint)
    arguments = typing.get_args(hint)
    origin = _origin(hint)
    if isinstance(value, dict) and (
        reserved := [key for key in value if _RESERVED.fullmatch(str(key))]
    ):
        classes = _classes(hint)
        if reserved != [TARGET] or not classes:
            other = next((key for key in reserved if key != TARGET), TARGET)
            raise UsageError(
                f"{_join(path, other)} is not read: expected {describe(hint)} in {path}"
            )
        return _conform_node(value, classes, hint, path, typed)
    if hint is Any or hint is object or isinstance(hint, typing.TypeVar):
        if isinstance(value, dict):
            return {
                key: conform(one, Any, _join(path, str(key)), typed) for key, one in value.items()
            }
        if isinstance(value, list):
            return [conform(one, Any, f"{path}[{place}]", typed) for place, one in enumerate(value)]
        return value
    if origin in (typing.Union, types.UnionType):
        return _conform_union(value, arguments, path, typed)
    if origin is Literal:
        for candidate in (value, typed.get(path)):
            if any(
                candidate == allowed and type(candidate) is type(allowed) for allowed in arguments
            ):
                return candidate
        close = did_you_mean(str(value), [str(allowed) for allowed in arguments])
        raise UsageError(_expected(path, value, hint) + close)
    if origin in _LISTS and isinstance(value, list):
        return _conform_list(value, origin, arguments, path, typed)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        item = arguments[1] if len(arguments) == 2 else Any
        return {key: conform(one, item, _join(path, str(key)), typed) for key, one in value.items()}
    return _conform_scalar(value, hint, path, typed)


def missing(path: str, hint: Hint) -> typing.NoReturn:
    """Refuse a value that only the user can give."""
    raise UsageError(f"{path} has to be given: {path}=VALUE, {describe(hint)}")


def build(node: Any, path: str = "") -> Any:
    """Call the class of every `Call` of a checked tree, the innermost first.

    Raises:   UsageError: a constructor refused its values; the message starts with the key of its node.
    """
    if isinstance(node, list | tuple | set | frozenset):
        return type(node)(build(one, f"{path}[{place}]") for place, one in enumerate(node))
    if not isinstance(node, dict):
        return node
    parts = {key: build(one, _join(path, key)) for key, one in node.items() if key != TARGET}
    if not isinstance(node, Call):
        return parts
    try:
        return locate(node[TARGET], path)(**parts)
    except USER_ERRORS as error:
        error.add_note(path)
        raise


def plain(node: Any) -> Any:
    """Give a checked tree as JSON and YAML know it: lists and text alone."""
    if isinstance(node, dict):
        return {key: plain(one) for key, one in node.items()}
    if isinstance(node, list | tuple | set | frozenset):
        return [plain(one) for one in node]
    return str(node) if isinstance(node, Path) else node


def describe(hint: Hint) -> str:
    """Say in words what values an annotation allows."""
    arguments = typing.get_args(hint)
    origin: Any = typing.get_origin(hint)
    if hint in _WORDS:
        return _WORDS[hint]
    if hint is None or hint is type(None):
        return "null"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(arm) for arm in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}: " + ", ".join(describe(arm) for arm in arguments)
    if origin in _LISTS:
        return (
            f"a list like [a,b] of {describe(arguments[0])}" if arguments else "a list like [a,b]"
        )
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return (
            f"keys with {describe(arguments[1])} each" if len(arguments) == 2 else "keys and values"
        )
    if _is_class(hint):
        return f"a {_name(hint)} with the keys {', '.join(_parameters(hint)[0])}"
    return "anything" if hint is Any else f"a {_name(hint)}"


def _conform_node(
    value: dict[str, Any], classes: Sequence[type], hint: Hint, path: str, typed: Mapping[str, str]
) -> Call:
    """Check a node that names a class: as text before anything is imported, then the class itself."""
    check_name(value[TARGET], path)
    found = locate(value[TARGET], path)
    if not any(fits(found, one) for one in classes):
        raise UsageError(f"{path}: expected {describe(hint)}, got a {_name(found)}")
    return Call(check(found, value, typed, path))


def _classes(hint: Hint) -> list[type]:
    """The classes and Protocols that an annotation is, or is one of; none where it allows anything else."""
    union = _origin(hint) in (typing.Union, types.UnionType)
    arms = [one for one in (typing.get_args(hint) if union else (hint,)) if one is not type(None)]
    return arms if all(_is_ours(one) or getattr(one, "_is_protocol", False) for one in arms) else []


def _is_ours(hint: Hint) -> bool:
    """Whether an annotation is a class that a configuration may name, and no number, text, path or list."""
    return _is_class(hint) and hint not in _WORDS and hint.__module__ != "builtins"


def _conform_union(value: Any, arms: Sequence[Hint], path: str, typed: Mapping[str, str]) -> Any:
    if value is None and type(None) in arms:
        return None
    others = [arm for arm in arms if arm is not type(None)]
    if len(others) == 1 and value is not None:
        try:
            return conform(value, others[0], path, typed)
        except UsageError as error:
            if len(arms) > 1 and not isinstance(value, dict | list):
                raise UsageError(str(error).replace(", got ", " or null, got ", 1)) from error
            raise
    found = []
    for arm in others:
        try:
            found.append(conform(value, arm, path, typed))
        except UsageError:
            continue
    if not found:
        raise UsageError(_expected(path, value, typing.Union[tuple(arms)]))  # noqa: UP007 - from values
    return next((result for result in found if type(result) is type(value)), found[0])


def _conform_list(
    value: list[Any], origin: Any, arguments: tuple[Hint, ...], path: str, typed: Mapping[str, str]
) -> Any:
    fixed = origin is tuple and bool(arguments) and arguments[-1] is not Ellipsis
    if fixed and len(value) != len(arguments):
        raise UsageError(
            f"{path}: expected {len(arguments)} items, got {len(value)}: {part(str(value))}"
        )
    items = arguments if fixed else (arguments[:1] or (Any,)) * len(value)
    parts = [
        conform(one, item, f"{path}[{place}]", typed)
        for place, (one, item) in enumerate(zip(value, items, strict=True))
    ]
    return origin(parts) if origin in (tuple, set, frozenset) else parts


def _conform_scalar(value: Any, kind: Hint, path: str, typed: Mapping[str, str]) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{path}: {value} is not a value; a number must be finite")
    if number and isinstance(value, int) and abs(value) > LARGEST and kind in (int, float):
        raise UsageError(
            f"{path}: {_digits(value)} is too large; a number must be at most {LARGEST}"
        )
    if kind is float and number:
        return float(value)
    if kind is int and number and float(value).is_integer():
        if abs(value) > LARGEST:
            raise UsageError(
                f"{path}: {value:g} is too large; a whole number must be at most {LARGEST}"
            )
        return int(value)
    if kind is str and path in typed and isinstance(value, bool | int | float):
        return typed[path]  # run=007, run=1e3: the name as it was typed
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (str, bool) and type(value) is kind:
        return value
    raise UsageError(_expected(path, value, kind))


def _expected(path: str, value: Any, hint: Hint) -> str:
    return f"{path}: expected {describe(hint)}, got {_shown(value)}"


def _shown(value: Any) -> str:
    """What a message shows of a value: its beginning, as JSON."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _digits(value)
    try:
        return part(json.dumps(plain(value), ensure_ascii=False, default=str))
    except (ValueError, RecursionError):  # a number of more digits than Python prints
        return f"a {type(value).__name__} that cannot be shown"


def _digits(value: int) -> str:
    return str(value) if abs(value) < 10**30 else f"a number of {value.bit_length()} bits"


def _parameters(function: Callable[..., object]) -> tuple[dict[str, Hint], list[str]]:
    """Give the parameters that can be passed by name with their annotations, and those without a default."""
    called: Any = getattr(function, "__init__") if isinstance(function, type) else function  # noqa: B009
    hints = typing.get_type_hints(called)
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    return {parameter.name: hints.get(parameter.name, Any) for parameter in parameters}, required


def _is_class(hint: Hint) -> bool:
    """Whether isinstance says what fits; Any is a class since Python 3.11, a Protocol has no constructor."""
    return (
        isinstance(hint, type)
        and hint not in (Any, object)
        and not getattr(hint, "_is_protocol", False)
    )


def _origin(hint: Hint) -> Any:
    return getattr(
        hint, "__origin__", types.UnionType if isinstance(hint, types.UnionType) else hint
    )


def _name(thing: Any) -> str:
    return str(getattr(thing, "__name__", thing))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
