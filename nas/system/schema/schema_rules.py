"""The rules that annotations of stored data may hold, and how messages show a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from nas.system.streams import printable

LARGEST = 2**63 - 1  # whole number: what arrays and tables hold
MAX_SHOWN = 80  # characters of a value in a message


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


def show(value: Any) -> str:
    """Return what a message shows of a value: its beginning, without control characters."""
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        cut = value if len(value) <= MAX_SHOWN - 2 else f"{value[: MAX_SHOWN - 5]}..."
        return f'"{printable(cut)}"'
    known: dict[Any, str] = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return known[value]
    return show_digits(value) if isinstance(value, int) else printable(repr(value)[:MAX_SHOWN])


def show_digits(value: int) -> str:
    """Return a whole number; of a huge one its length, which says more than its digits."""
    # Python prints no 4,300 digits.
    return str(value) if abs(value) < 10**30 else f"a number of {value.bit_length()} bits"
