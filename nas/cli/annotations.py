"""Annotations of constructors, read as a schema: the values that they allow."""

import inspect
import keyword
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Hint = Any  # an annotation
LISTS = (list, tuple, set, frozenset, Sequence, Collection, Iterable)
UNIONS = (typing.Union, types.UnionType)
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Path: "a path",
}


def describe(hint: Hint) -> str:
    """Return in words what values an annotation allows.

    Example:
        >>> describe(int | None), describe(list[float])
        ('a whole number or null', 'a list like [a,b] of a number')
    """
    if hint in _WORDS:
        return _WORDS[hint]
    if hint is None or hint is type(None):
        return "null"

    # Annotations with arguments, such as list[int], tuple[int, int] or int | None.
    arguments = typing.get_args(hint)
    origin: Any = typing.get_origin(hint)
    if origin in UNIONS:
        return " or ".join(describe(arm) for arm in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}: " + ", ".join(describe(arm) for arm in arguments)
    if origin in LISTS:
        return (
            f"a list like [a,b] of {describe(arguments[0])}" if arguments else "a list like [a,b]"
        )
    if isinstance(origin, type) and issubclass(origin, Mapping):
        has_types = len(arguments) == 2
        return f"keys with {describe(arguments[1])} each" if has_types else "keys and values"

    if is_class(hint):
        return f"a {name_of(hint)} with the keys {', '.join(read_parameters(hint)[0])}"
    return "anything" if hint is Any else f"a {name_of(hint)}"


def read_parameters(function: Callable[..., object]) -> tuple[dict[str, Hint], list[str]]:
    """Return the parameters that can be passed by name, as the keys that set them.

    Returns:
        Their annotations by key, and the keys of those without a default.
    """
    # Of a class the annotations are its constructor's, not those of its attributes.
    constructor = "__init__"  # by its name, as mypy takes it for unsound on an instance
    called: Any = getattr(function, constructor) if isinstance(function, type) else function
    hints = typing.get_type_hints(called)

    # *args and **kwargs take no key of a configuration.
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    required = [
        key_of(parameter.name) for parameter in parameters if parameter.default is parameter.empty
    ]
    known = {key_of(parameter.name): hints.get(parameter.name, Any) for parameter in parameters}
    return known, required


def key_of(parameter: str) -> str:
    """Return the key that sets a parameter: a word of Python's own has an underscore behind it.

    Example:
        >>> key_of("in_"), key_of("out")
        ('in', 'out')
    """
    word = parameter.removesuffix("_")
    return word if keyword.iskeyword(word) else parameter


def parameter_of(key: str) -> str:
    """Return the parameter that a key sets, the other way round."""
    return f"{key}_" if keyword.iskeyword(key) else key


def classes_of(hint: Hint) -> list[type]:
    """Return the classes and Protocols that an annotation is, or is one of.

    None are returned where it allows anything else, such as a number: then no `_target_` fits.
    """
    union = origin_of(hint) in UNIONS
    # None stands for the absence of an object, whatever its class.
    arms = [arm for arm in (typing.get_args(hint) if union else (hint,)) if arm is not type(None)]
    return arms if all(_is_ours(arm) or _is_protocol(arm) for arm in arms) else []


def is_class(hint: Hint) -> bool:
    """Return whether an annotation is a class whose objects `isinstance` tells.

    Any is a class too since Python 3.11; a Protocol has no constructor.
    """
    return isinstance(hint, type) and hint not in (Any, object) and not _is_protocol(hint)


def origin_of(hint: Hint) -> Any:
    """Return the class behind an annotation with arguments, or the annotation itself."""
    # `int | None` and `Union[int, None]` mean the same and are told apart by Python.
    bare = types.UnionType if isinstance(hint, types.UnionType) else hint
    return getattr(hint, "__origin__", bare)


def name_of(thing: Any) -> str:
    return str(getattr(thing, "__name__", thing))


def _is_ours(hint: Hint) -> bool:
    """Return whether an annotation is a class that a configuration may name: no number or list."""
    return is_class(hint) and hint not in _WORDS and hint.__module__ != "builtins"


def _is_protocol(hint: Hint) -> bool:
    return bool(getattr(hint, "_is_protocol", False))
