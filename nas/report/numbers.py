"""Numbers as a reader sees them; what was not measured is a dash."""

import math
from typing import Any

import pandas as pd

DASH = "–"


def missing(value: Any) -> bool:
    """Return whether a cell holds nothing: None, NA or NaN."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def format_value(value: Any, spec: str) -> str:
    """Return a cell as the format of its column says.

    Args:
        spec: "G" for counts in units of 1e9, else a format specification of Python.
    Example:
        >>> format_value(150688, ","), format_value(-0.0412, "+.3f"), format_value(0.83, ".0%")
        ('150,688', '−0.041', '83 %')
    """
    if missing(value):
        return DASH
    if spec == "G":
        return giga(value)

    text = format(value, spec)
    if spec.startswith("+"):
        text = text.replace("-", "−")  # a minus as wide as the plus
    return text.replace("%", " %")


def fixed(value: Any, digits: int, unit: str = "") -> str:
    """Return a number with so many decimals: "26.94 dB"."""
    return DASH if missing(value) else f"{float(value):,.{digits}f}{unit}"


def signed(value: Any, digits: int, unit: str = "") -> str:
    """Return a number with its sign and so many decimals: "−0.041 dB"."""
    return DASH if missing(value) else format_value(float(value), f"+.{digits}f") + unit


def whole(value: Any) -> str:
    """Return a count in full: "150,688"."""
    return DASH if missing(value) else f"{int(value):,}"


def giga(value: Any) -> str:
    """Return a count in units of 1e9, small ones in 1e6: "9.83 G", "25.0 M"."""
    if missing(value):
        return DASH
    return f"{value / 1e9:.2f} G" if value >= 1e8 else f"{value / 1e6:.1f} M"


def ratio(value: Any, half_width: Any) -> str:
    """Return a ratio with its 95 % half-width: "0.731 ± 0.004"."""
    if missing(value):
        return DASH
    return f"{value:.3f}" if missing(half_width) else f"{value:.3f} ± {half_width:.3f}"


def duration(seconds: float) -> str:
    """Return a time that is left in words: "1 h 05 min", "3 min 20 s", "12 s"."""
    # What is nearly over can be below zero by a clock's difference.
    whole_seconds = max(0, round(seconds))
    hours, rest = divmod(whole_seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
