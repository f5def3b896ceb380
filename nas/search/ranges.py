"""The ranges of a search's numbers and words: known without torch, so a wrong one is told at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from nas.analysis.columns import GOALS, LIMITS

LEAST = {"trials": 1, "confirm": 0, "seed": 0}  # of whole numbers


def check_ranges(values: Mapping[str, Any]) -> None:
    """Refuse keys of a search that are out of range; keys that are absent are not looked at.

    Args:
        values: by key, of the types that the command takes.
    Raises:
        ValueError: one is out of range; the message starts with its key.
    """
    for key, least in LEAST.items():
        number = values.get(key)
        if number is not None and number < least:
            raise ValueError(f"{key} must be at least {least}, got {number}")

    hours, time_cap = values.get("hours"), values.get("time_cap")
    if hours is not None and not hours > 0:
        raise ValueError(f"hours must be above 0, got {hours}")
    if time_cap is not None and not time_cap > 0:
        raise ValueError(
            f"time_cap must be above 0, got {time_cap:g}; null waits for every candidate"
        )

    if (seeds := values.get("ladder_seeds")) is not None and seeds < 1:
        raise ValueError(f"ladder_seeds must be at least 1, got {seeds}; 3 show the noise")
    if (objectives := values.get("objectives")) is not None:
        check_objectives(objectives)
    check_limits(values.get("limits", {}))


def check_objectives(objectives: Sequence[str]) -> None:
    """Refuse objectives that are no columns, too many or given twice."""
    unknown = [name for name in objectives if name not in GOALS]
    if unknown:
        raise ValueError(
            f"objectives: {', '.join(unknown)} cannot be one; choose from {', '.join(GOALS)}"
        )
    if not 1 <= len(objectives) <= 4 or len(set(objectives)) < len(objectives):
        raise ValueError(
            f"objectives must be one to four different columns, got {list(objectives)}"
        )


def check_limits(limits: Mapping[str, float | None]) -> None:
    """Refuse limits of what has none, and limits that nothing can keep."""
    unlimited = [name for name in limits if name not in LIMITS]
    if unlimited:
        raise ValueError(
            f"limits: {', '.join(unlimited)} cannot have one; choose from {', '.join(LIMITS)}"
        )
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise ValueError(f"limits.{name} must be above 0, got {limit:g}; null is no limit")
