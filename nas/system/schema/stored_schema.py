"""Plain data of a stored file, checked against annotations and made into dataclasses.

The dataclass that a program works with is the schema of what it stores: its annotations say types
and ranges, its defaults what an earlier version did not write yet, and what it does not name is
refused. A misfit is one line: `FILE, record 3, quality.psnr_db: expected a number of at least
-10000 and at most 10000, got null`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from nas.system.schema.schema_checks import (
    MisfitError,
    check_keys,
    check_mapping,
    expect,
    join_fields,
    make_check,
)

T = TypeVar("T")


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
        return SchemaError(place, self.reason, join_fields(name, self.field))

    def advise(self, way_out: str) -> "SchemaError":
        """Return the error with what to do about it."""
        return SchemaError(self.place, f"{self.reason}; {way_out}", self.field)


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
        nas.system.schema.stored_schema.SchemaError: x.json, record 7, [1]: expected a whole number, got "4"
    """
    try:
        return make_check(hint)(data)
    except MisfitError as misfit:
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
        raise SchemaError(place, expect("text", text).reason)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise SchemaError(place, expect("JSON", shown).reason) from None
    return read_as(kind, data, place)


class Fields:
    """The schema of a mapping, from annotations by name, where no one class holds them all.

    Args:
        hints: an annotation a field.
        needed: the fields that may not be missing; None: all.
    """

    def __init__(self, hints: Mapping[str, Any], needed: Sequence[str] | None = None) -> None:
        self._checks = {name: make_check(hint) for name, hint in hints.items()}
        self._needed = tuple(hints) if needed is None else needed

    def check(self, data: Any, place: str = "") -> dict[str, Any]:
        """Return the fields in their types.

        Raises:
            SchemaError: one is missing, unknown, or holds something else.
        """
        try:
            return check_keys(check_mapping(data), self._checks, self._needed)
        except MisfitError as misfit:
            raise SchemaError(place, misfit.reason, misfit.field) from None
