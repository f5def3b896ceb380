"""One check an annotation, made once: journals hold ten thousand records."""

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal

from nas.system.schema.schema_rules import LARGEST, MAX_SHOWN, Matches, OneOf, Within, show
from nas.system.streams import printable

Check = Callable[[Any], Any]  # value -> value in its type; raises MisfitError

MAX_FLOAT = 1e300  # of any number: sums and squares of a few stay finite
MAX_DEPTH = 40  # of data that no annotation describes
MAX_ITEMS = 100_000  # of one list or mapping
MAX_TEXT = 256 * 1024  # characters
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


class MisfitError(Exception):
    """A value that does not fit; its field is put together on the way out."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.field = ""

    def within(self, name: str | int) -> "MisfitError":
        """Return it with the name or the index of what holds the value put in front."""
        self.field = join_fields(f"[{name}]" if isinstance(name, int) else name, self.field)
        return self


def join_fields(name: str, field: str) -> str:
    """Return the name of a field within another one: a.b, or a[3]."""
    dot = "." if field and not field.startswith("[") else ""
    return f"{printable(name[:MAX_SHOWN])}{dot}{field}"


def expect(words: str, value: Any) -> MisfitError:
    return MisfitError(f"expected {words}, got {show(value)}")


@functools.cache
def make_check(hint: Any) -> Check:
    """Return the check of an annotation."""
    if hint is Any:
        return _check_plain
    if hint is None or hint is type(None):
        return _make_literal((None,))
    if hint in _WORDS:
        return _make_scalar(hint, ())

    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _make_scalar(arguments[0], arguments[1:])
    if origin is Literal:
        return _make_literal(arguments)
    if origin in (typing.Union, types.UnionType):
        return _make_union(arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return _make_fixed(arguments)
    if origin in (tuple, list):
        return _make_list(origin, arguments[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _make_mapping(*arguments)
    if hasattr(hint, "from_dict"):
        return _make_own(hint)
    if typing.is_typeddict(hint):
        return _make_typed_dict(hint)
    assert dataclasses.is_dataclass(hint), f"{hint} describes no stored data"
    return _make_object(hint)


def _make_scalar(kind: Any, rules: Sequence[Any]) -> Check:
    """Return the check of a number, a text or a truth value, with its range or pattern."""
    rule: Any = rules[0] if rules else None
    if kind is bool:
        return _make_typed(bool)
    if kind is str:
        if isinstance(rule, OneOf):
            return _make_literal(rule.names)
        return _make_matching(rule) if rule else _check_text
    if kind in (int, float):
        return _make_number(kind, rule)

    # A list with limits of its own length.
    inner = make_check(kind)

    def check(value: Any) -> Any:
        found = inner(value)
        if not rule.least <= len(found) <= rule.most:
            raise expect(f"{rule.least:g} to {rule.most:g} items", value)
        return found

    return check


def _make_number(kind: type, within: Within | None) -> Check:
    limit = LARGEST if kind is int else MAX_FLOAT
    least, most = (within.least, within.most) if within else (-limit, limit)
    words = _WORDS[kind]
    if within:
        words += f" of at least {least:g}" + (f" and at most {most:g}" if most < LARGEST else "")

    # Exact types: true is no number. NaN is within no range.
    def check_whole(value: Any) -> Any:
        if type(value) is int and least <= value <= most:
            return value
        raise expect(words, value)

    def check_any(value: Any) -> Any:
        if type(value) is float and least <= value <= most:
            return value
        if type(value) is int and -LARGEST <= value <= LARGEST:
            return check_range(value)
        raise expect(words, value)

    def check_range(value: Any) -> Any:
        if least <= value <= most:
            return value
        raise expect(words, value)

    return check_whole if kind is int else check_any


def _make_typed(kind: type) -> Check:
    def check(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise expect(_WORDS[kind], value)

    return check


def _check_text(value: Any) -> str:
    if type(value) is not str:
        raise expect("text", value)
    if len(value) > MAX_TEXT:
        raise expect(f"text of at most {MAX_TEXT} characters", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half a pair of UTF-16, which no file can hold
            raise expect("text that UTF-8 holds", value) from None
    return value


def _make_matching(rule: Matches) -> Check:
    pattern = re.compile(rule.pattern)

    def check(value: Any) -> str:
        if pattern.fullmatch(_check_text(value)) is None:
            raise expect(rule.words, value)
        return str(value)

    return check


def _make_literal(allowed: tuple[Any, ...]) -> Check:
    names = [item if isinstance(item, str) else show(item) for item in allowed]
    words = f"one of {', '.join(names)}" if len(names) > 2 else " or ".join(names)

    def check(value: Any) -> Any:
        # True and 1 are equal, and mean different things.
        for item in allowed:
            if type(value) is type(item) and value == item:
                return item
        raise expect(words, value)

    return check


def _make_union(arms: tuple[Any, ...]) -> Check:
    others = [arm for arm in arms if arm is not type(None)]
    checks = [make_check(arm) for arm in others]
    takes_null = len(others) < len(arms)

    def check(value: Any) -> Any:
        if value is None and takes_null:
            return None
        # With one arm its message knows the field within the value.
        for inner in checks[:-1]:
            try:
                return inner(value)
            except MisfitError:
                continue
        try:
            return checks[-1](value)
        except MisfitError as misfit:
            if takes_null and not misfit.field:
                misfit.reason = misfit.reason.replace(", got ", " or null, got ", 1)
            raise

    return check


def _make_list(origin: Any, item: Any) -> Check:
    inner = make_check(item)

    def check(value: Any) -> Any:
        items = _check_items(value)
        place = 0
        try:
            found = []
            for place, value in enumerate(items):  # noqa: B007 - the place is for the message
                found.append(inner(value))
        except MisfitError as misfit:
            raise misfit.within(place) from None
        return origin(found)

    return check


def _make_fixed(hints: tuple[Any, ...]) -> Check:
    checks = [make_check(hint) for hint in hints]

    def check(value: Any) -> Any:
        items = _check_items(value)
        if len(items) != len(checks):
            raise expect(f"a list of {len(checks)}", value)
        found = []
        for place, (inner, item) in enumerate(zip(checks, items, strict=True)):
            try:
                found.append(inner(item))
            except MisfitError as misfit:
                raise misfit.within(place) from None
        return tuple(found)

    return check


def _check_items(value: Any) -> Sequence[Any]:
    if type(value) not in (list, tuple):
        raise expect("a list", value)
    if len(value) > MAX_ITEMS:
        raise expect(f"a list of at most {MAX_ITEMS}", value)
    items: Sequence[Any] = value
    return items


def check_mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise expect("a mapping", value)
    if len(value) > MAX_ITEMS:
        raise expect(f"a mapping of at most {MAX_ITEMS}", value)
    return value


def _make_mapping(key: Any, item: Any) -> Check:
    check_key, inner = make_check(key), make_check(item)

    def check(value: Any) -> Any:
        found = {}
        for name, held in check_mapping(value).items():
            try:
                found[check_key(name)] = inner(held)
            except MisfitError as misfit:
                raise misfit.within(str(name)) from None
        return found

    return check


def _make_own(kind: Any) -> Check:
    """Return the check of a class that reads plain data itself."""

    def check(value: Any) -> Any:
        try:
            return kind.from_dict(value)
        except ValueError as error:
            raise MisfitError(str(error)) from None

    return check


def _make_object(kind: Any) -> Check:
    """Return the check of a dataclass: it gives an object of it."""
    hints = typing.get_type_hints(kind, include_extras=True)
    known = {field.name: make_check(hints[field.name]) for field in fields(kind) if field.init}
    needed = [
        field.name
        for field in fields(kind)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    ]

    def check(value: Any) -> Any:
        found = check_keys(check_mapping(value), known, needed)
        try:
            return kind(**found)
        except ValueError as error:  # of its own rules, which no annotation says
            raise MisfitError(str(error)) from None

    return check


def _make_typed_dict(kind: Any) -> Check:
    """Return the check of a mapping whose keys are those of a TypedDict: it stays as it is."""
    hints = typing.get_type_hints(kind, include_extras=True)
    known = {
        name: make_check(
            typing.get_args(hint)[0] if typing.get_origin(hint) is typing.NotRequired else hint
        )
        for name, hint in hints.items()
    }
    needed = sorted(kind.__required_keys__)

    def check(value: Any) -> Any:
        check_keys(check_mapping(value), known, needed)
        return value

    return check


def check_keys(
    value: Mapping[Any, Any], known: Mapping[str, Check], needed: Sequence[str]
) -> dict[str, Any]:
    """Check the values of a mapping by their keys, that none is missing and none is unknown."""
    found: dict[str, Any] = {}
    for name, held in value.items():
        inner = known.get(name)
        if inner is None:
            raise MisfitError(f"expected {', '.join(known)}; got the field {show(name)}")
        try:
            found[name] = inner(held)
        except MisfitError as misfit:
            raise misfit.within(name) from None

    for name in needed:
        if name not in found:
            raise MisfitError("expected it, got nothing").within(name)
    return found


def _check_plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return data that no annotation describes: finite, of texts that UTF-8 holds, not too deep."""
    kind = type(value)
    if kind is str:
        return _check_text(value)
    if kind in (int, float):
        return _ANY_NUMBER(value)
    if value is None or kind is bool:
        return value
    if depth == 0:
        raise MisfitError(
            f"expected at most {MAX_DEPTH} lists and mappings in one another, got more"
        )
    if isinstance(value, dict):
        for name, held in check_mapping(value).items():
            try:
                _check_text(name)
                _check_plain(held, depth - 1)
            except MisfitError as misfit:
                raise misfit.within(str(name)) from None
        return value
    for place, held in enumerate(_check_items(value)):
        try:
            _check_plain(held, depth - 1)
        except MisfitError as misfit:
            raise misfit.within(place) from None
    return value


_ANY_NUMBER = _make_number(float, Within(-MAX_FLOAT, MAX_FLOAT))
