"""Limits of an architecture's size, and of what messages show of it: specs come from strangers."""

from collections.abc import Mapping
from typing import Any

MAX_CHANNELS = 1024  # EDSR has 256
RANGES = {"channels": (1, MAX_CHANNELS), "kernel": (1, 63), "gain": (1, 64)}  # least and most
MAX_NUMBER = 4096  # of any other whole number: windows, hidden channels, classes
MAX_COUNT = 64  # of what a block makes so many of: num_convs, num_heads, ..., and of expansion
COUNTS = ("expansion", "num_convs", "num_heads", "num_levels", "num_refine")
MAX_BLOCKS = 256  # of a network, those within groups too; RCAN has 200
MAX_DEPTH = 8  # of groups within groups
MAX_PARAMS = 200_000_000  # numbers that a network learns; EDSR has 43 million
MAX_CHARACTERS = 256 * 1024  # of a spec's JSON
MAX_TEXT = 64  # characters of an argument: activations, features
MAX_SHOWN = 100  # characters of a value in a message


def shown(value: Any) -> str:
    """Return what a message shows of a value: its beginning, whatever its size."""
    # The text of a huge value would take as long as the value is large.
    if isinstance(value, list | tuple | Mapping) and len(value) > MAX_SHOWN:
        return f"{type(value).__name__} of {len(value)}"
    if (
        isinstance(value, int) and abs(value) >= 10**MAX_SHOWN
    ):  # Python refuses to print 4,300 digits
        return f"a number of {value.bit_length()} bits"
    return shorten(repr(value))


def shorten(text: str) -> str:
    """Return the beginning of a text, for a message."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def check_size(place: str, name: str, value: object) -> None:
    """Check that a number is of a size that some super-resolution network has.

    Specs are checked before anything of their size is made.


    Raises:
        ValueError: it is too large; or a text is too long.
    """
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"{place} must be at most {MAX_TEXT} characters, got {len(value)}")
    if isinstance(value, int) and not isinstance(value, bool):
        most = MAX_COUNT if name in COUNTS else MAX_NUMBER
        if abs(value) > most:
            raise ValueError(f"{place} must be at most {most}, got {shown(value)}")
