"""Numbers as a reader sees them; what was not measured is a dash."""

import math
from typing import Any

import pandas as pd

DASH = "–"


def missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def fixed(value: Any, digits: int, unit: str = "") -> str:
    """A number with a fixed count of decimals: "26.94 dB"."""
    return DASH if missing(value) else f"{float(value):,.{digits}f}{unit}"


def signed(value: Any, digits: int, unit: str = "") -> str:
    return DASH if missing(value) else f"{float(value):+.{digits}f}{unit}".replace("-", "−")


def whole(value: Any) -> str:
    return DASH if missing(value) else f"{int(value):,}"


def giga(value: Any) -> str:
    """A count in units of 1e9: "9.83 G"; small ones in 1e6."""
    if missing(value):
        return DASH
    return f"{value / 1e9:.2f} G" if value >= 1e8 else f"{value / 1e6:.1f} M"


def ratio(value: Any, half_width: Any) -> str:
    """A ratio with its 95 % half-width: "0.731 ± 0.004"."""
    if missing(value):
        return DASH
    return f"{value:.3f}" if missing(half_width) else f"{value:.3f} ± {half_width:.3f}"


def duration(seconds: float) -> str:
    """A time that is left: "1 h 05 min", "3 min 20 s", "12 s"."""
    whole_seconds = max(0, round(seconds))
    hours, rest = divmod(whole_seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
