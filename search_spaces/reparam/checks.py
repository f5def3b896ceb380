"""Check a training form's arguments, which come from a spec: text, numbers or true/false."""

import math


def check_count(name: str, value: object) -> int:
    """Return a whole number of at least 1.

    Raises:
        ValueError: it is none.
    """
    # True is an int in Python, and no count.
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"train_form: {name} must be a whole number of at least 1, got {value!r}")
    return value


def check_positive(name: str, value: object) -> float:
    """Return a finite number above 0.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"train_form: {name} must be a finite number above 0, got {value!r}")
    return value


def check_flag(name: str, value: object) -> bool:
    """Return true or false.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"train_form: {name} must be true or false, got {value!r}")
    return value
