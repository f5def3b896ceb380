"""Plain data of a stored file, checked against annotations and made into dataclasses.

The dataclass that a program works with is the schema of what it stores: its annotations say types
and ranges, its defaults what an earlier version did not write yet, and what it does not name is
refused. A misfit is one line: `FILE, record 3, quality.psnr_db: expected a number of at least
-10000 and at most 10000, got null`.
"""

import dataclasses
import functools
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, TypeVar

T = TypeVar("T")
Check = Callable[[Any], Any]  # value -> value in its type; raises _MisfitError

LARGEST = 2**63 - 1  # whole number: what arrays and tables hold
MAX_FLOAT = 1e300  # of any number: sums and squares of a few stay finite
MAX_DEPTH = 40  # of data that no annotation describes
MAX_ITEMS = 100_000  # of one list or mapping
MAX_TEXT = 256 * 1024  # characters
MAX_SHOWN = 80  # characters of a value in a message
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Within:
    """Both ends of the range of a number: `Annotated[int, Within(1, 8)]`."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Matches:
    """A regular expression of a whole text, and what it allows in words."""

    pattern: str
    words: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """The texts that are allowed, where they are known to the program alone."""

    names: tuple[str, ...]


Count = Annotated[int, Within(0, LARGEST)]
PositiveCount = Annotated[int, Within(1, LARGEST)]
Amount = Annotated[float, Within(0, 1e15)]  # milliseconds, seconds, MiB, ratios
PositiveAmount = Annotated[float, Within(1e-15, 1e15)]
Decibels = Annotated[float, Within(-1e4, 1e4)]


class SchemaError(ValueError):
    """Stored data that no version of this program writes.

    Attributes:
        place: the file, and the record in it.
        field: what does not fit; empty: the whole.
        reason: what was expected, and what stands there.
    """

    def __init__(self, place: str, reason: str, field: str = "") -> None:
        self.place = place
        self.field = field
        self.reason = reason
        super().__init__(": ".join(filter(None, [", ".join(filter(None, [place, field])), reason])))

    def within(self, place: str, name: str) -> "SchemaError":
        """Return the error of the same field as one of what holds it."""
        return SchemaError(place, self.reason, _join(name, self.field))

    def advise(self, way_out: str) -> "SchemaError":
        """Return the error with what to do about it."""
        return SchemaError(self.place, f"{self.reason}; {way_out}", self.field)


class _MisfitError(Exception):
    """A value that does not fit; its field is put together on the way out."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.field = ""

    def within(self, name: str | int) -> "_MisfitError":
        """Return it with the name or the index of what holds the value put in front."""
        self.field = _join(f"[{name}]" if isinstance(name, int) else name, self.field)
        return self


def _join(name: str, field: str) -> str:
    """Return the name of a field within another one: a.b, or a[3]."""
    dot = "." if field and not field.startswith("[") else ""
    return f"{escape(name[:MAX_SHOWN])}{dot}{field}"


def conform(data: Any, hint: Any, place: str = "") -> Any:
    """Return plain data in the type that an annotation says.

    Args:
        data: as JSON and YAML give it.
        hint: a dataclass, a TypedDict (whose mapping stays one), a class that has `from_dict`, or
            an annotation of these, numbers, text, lists and mappings.
        place: the file and the record, for messages.
    Raises:
        SchemaError: a field is missing, unknown, or holds something else.

    Example:
        >>> conform([3, "4"], tuple[int, ...], "x.json, record 7")
        Traceback (most recent call last):
        nas.system.stored_schema.SchemaError: x.json, record 7, [1]: expected a whole number, got "4"
    """
    try:
        return _make_check(hint)(data)
    except _MisfitError as misfit:
        raise SchemaError(place, misfit.reason, misfit.field) from None


def read_as(kind: type[T], data: Any, place: str = "") -> T:
    """Return plain data as an object of a class; see `conform`."""
    found: T = conform(data, kind, place)
    return found


def parse_as(kind: type[T], text: Any, place: str = "") -> T:
    """Return JSON text as an object of a class; see `conform`.

    Raises:
        SchemaError: it is no JSON, or does not fit.
    """
    if not isinstance(text, str | bytes):
        raise SchemaError(place, _expect("text", text).reason)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise SchemaError(place, _expect("JSON", shown).reason) from None
    return read_as(kind, data, place)


class Fields:
    """The schema of a mapping, from annotations by name, where no one class holds them all.

    Args:
        hints: an annotation a field.
        needed: the fields that may not be missing; None: all.
    """

    def __init__(self, hints: Mapping[str, Any], needed: Sequence[str] | None = None) -> None:
        self._checks = {name: _make_check(hint) for name, hint in hints.items()}
        self._needed = tuple(hints) if needed is None else needed

    def check(self, data: Any, place: str = "") -> dict[str, Any]:
        """Return the fields in their types.

        Raises:
            SchemaError: one is missing, unknown, or holds something else.
        """
        try:
            return _check_keys(_check_mapping(data), self._checks, self._needed)
        except _MisfitError as misfit:
            raise SchemaError(place, misfit.reason, misfit.field) from None


def show(value: Any) -> str:
    """Return what a message shows of a value: its beginning, without control characters."""
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**30:  # Python prints no 4,300 digits
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, str):
        cut = value if len(value) <= MAX_SHOWN - 2 else f"{value[: MAX_SHOWN - 5]}..."
        return f'"{escape(cut)}"'
    known: dict[Any, str] = {None: "null", True: "true", False: "false"}
    is_word = value is None or isinstance(value, bool)
    return known[value] if is_word else escape(repr(value)[:MAX_SHOWN])


def escape(text: str) -> str:
    """Return a text whose characters that are not shown as themselves are written as \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text
    )


def _expect(words: str, value: Any) -> _MisfitError:
    return _MisfitError(f"expected {words}, got {show(value)}")


# One check an annotation, made once: journals hold ten thousand records.


@functools.cache
def _make_check(hint: Any) -> Check:
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
    inner = _make_check(kind)

    def check(value: Any) -> Any:
        found = inner(value)
        if not rule.least <= len(found) <= rule.most:
            raise _expect(f"{rule.least:g} to {rule.most:g} items", value)
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
        raise _expect(words, value)

    def check_any(value: Any) -> Any:
        if type(value) is float and least <= value <= most:
            return value
        if type(value) is int and -LARGEST <= value <= LARGEST:
            return check_range(value)
        raise _expect(words, value)

    def check_range(value: Any) -> Any:
        if least <= value <= most:
            return value
        raise _expect(words, value)

    return check_whole if kind is int else check_any


def _make_typed(kind: type) -> Check:
    def check(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise _expect(_WORDS[kind], value)

    return check


def _check_text(value: Any) -> str:
    if type(value) is not str:
        raise _expect("text", value)
    if len(value) > MAX_TEXT:
        raise _expect(f"text of at most {MAX_TEXT} characters", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half a pair of UTF-16, which no file can hold
            raise _expect("text that UTF-8 holds", value) from None
    return value


def _make_matching(rule: Matches) -> Check:
    pattern = re.compile(rule.pattern)

    def check(value: Any) -> str:
        if pattern.fullmatch(_check_text(value)) is None:
            raise _expect(rule.words, value)
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
        raise _expect(words, value)

    return check


def _make_union(arms: tuple[Any, ...]) -> Check:
    others = [arm for arm in arms if arm is not type(None)]
    checks = [_make_check(arm) for arm in others]
    takes_null = len(others) < len(arms)

    def check(value: Any) -> Any:
        if value is None and takes_null:
            return None
        # With one arm its message knows the field within the value.
        for inner in checks[:-1]:
            try:
                return inner(value)
            except _MisfitError:
                continue
        try:
            return checks[-1](value)
        except _MisfitError as misfit:
            if takes_null and not misfit.field:
                misfit.reason = misfit.reason.replace(", got ", " or null, got ", 1)
            raise

    return check


def _make_list(origin: Any, item: Any) -> Check:
    inner = _make_check(item)

    def check(value: Any) -> Any:
        items = _check_items(value)
        place = 0
        try:
            found = []
            for place, value in enumerate(items):  # noqa: B007 - the place is for the message
                found.append(inner(value))
        except _MisfitError as misfit:
            raise misfit.within(place) from None
        return origin(found)

    return check


def _make_fixed(hints: tuple[Any, ...]) -> Check:
    checks = [_make_check(hint) for hint in hints]

    def check(value: Any) -> Any:
        items = _check_items(value)
        if len(items) != len(checks):
            raise _expect(f"a list of {len(checks)}", value)
        found = []
        for place, (inner, item) in enumerate(zip(checks, items, strict=True)):
            try:
                found.append(inner(item))
            except _MisfitError as misfit:
                raise misfit.within(place) from None
        return tuple(found)

    return check


def _check_items(value: Any) -> Sequence[Any]:
    if type(value) not in (list, tuple):
        raise _expect("a list", value)
    if len(value) > MAX_ITEMS:
        raise _expect(f"a list of at most {MAX_ITEMS}", value)
    items: Sequence[Any] = value
    return items


def _check_mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise _expect("a mapping", value)
    if len(value) > MAX_ITEMS:
        raise _expect(f"a mapping of at most {MAX_ITEMS}", value)
    return value


def _make_mapping(key: Any, item: Any) -> Check:
    check_key, inner = _make_check(key), _make_check(item)

    def check(value: Any) -> Any:
        found = {}
        for name, held in _check_mapping(value).items():
            try:
                found[check_key(name)] = inner(held)
            except _MisfitError as misfit:
                raise misfit.within(str(name)) from None
        return found

    return check


def _make_own(kind: Any) -> Check:
    """Return the check of a class that reads plain data itself."""

    def check(value: Any) -> Any:
        try:
            return kind.from_dict(value)
        except ValueError as error:
            raise _MisfitError(str(error)) from None

    return check


def _make_object(kind: Any) -> Check:
    """Return the check of a dataclass: it gives an object of it."""
    hints = typing.get_type_hints(kind, include_extras=True)
    known = {field.name: _make_check(hints[field.name]) for field in fields(kind) if field.init}
    needed = [
        field.name
        for field in fields(kind)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    ]

    def check(value: Any) -> Any:
        found = _check_keys(_check_mapping(value), known, needed)
        try:
            return kind(**found)
        except ValueError as error:  # of its own rules, which no annotation says
            raise _MisfitError(str(error)) from None

    return check


def _make_typed_dict(kind: Any) -> Check:
    """Return the check of a mapping whose keys are those of a TypedDict: it stays as it is."""
    hints = typing.get_type_hints(kind, include_extras=True)
    known = {
        name: _make_check(
            typing.get_args(hint)[0] if typing.get_origin(hint) is typing.NotRequired else hint
        )
        for name, hint in hints.items()
    }
    needed = sorted(kind.__required_keys__)

    def check(value: Any) -> Any:
        _check_keys(_check_mapping(value), known, needed)
        return value

    return check


def _check_keys(
    value: Mapping[Any, Any], known: Mapping[str, Check], needed: Sequence[str]
) -> dict[str, Any]:
    """Check the values of a mapping by their keys, that none is missing and none is unknown."""
    found: dict[str, Any] = {}
    for name, held in value.items():
        inner = known.get(name)
        if inner is None:
            raise _MisfitError(f"expected {', '.join(known)}; got the field {show(name)}")
        try:
            found[name] = inner(held)
        except _MisfitError as misfit:
            raise misfit.within(name) from None

    for name in needed:
        if name not in found:
            raise _MisfitError("expected it, got nothing").within(name)
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
        raise _MisfitError(
            f"expected at most {MAX_DEPTH} lists and mappings in one another, got more"
        )
    if isinstance(value, dict):
        for name, held in _check_mapping(value).items():
            try:
                _check_text(name)
                _check_plain(held, depth - 1)
            except _MisfitError as misfit:
                raise misfit.within(str(name)) from None
        return value
    for place, held in enumerate(_check_items(value)):
        try:
            _check_plain(held, depth - 1)
        except _MisfitError as misfit:
            raise misfit.within(place) from None
    return value


_ANY_NUMBER = _make_number(float, Within(-MAX_FLOAT, MAX_FLOAT))
