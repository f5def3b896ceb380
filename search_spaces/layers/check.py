"""Check what a block is given: arguments when it is made, images when it is called."""

from torch import Tensor


def check_same_width(kind: str, in_channels: int, channels: int) -> None:
    """Check that a block which adds its input to its output keeps the width.

    Raises:
        ValueError: the widths differ.
    """
    if in_channels != channels:
        raise ValueError(
            f"{kind}.channels must be those of its input, which it adds, "
            f"{in_channels}, got {channels}; use {in_channels}, or change the width before it"
        )


def check_number(name: str, value: int, *, such_as: int) -> None:
    """Check that a value is a whole number of at least one.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"{name} must be a whole number of at least 1, got {value!r}; such as {such_as}"
        )


def check_multiple(name: str, value: int, divisor: int, reason: str) -> None:
    """Check that a number can be divided into equal parts.

    Args:
        reason: what it is divided into.

    Raises:
        ValueError: it is no multiple; the message names the nearest that are.
    """
    if value % divisor:
        # Rounded up; the nearest below is named too, unless that is nothing.
        above = -(-value // divisor) * divisor
        below = above - divisor
        options = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"{name} must be a multiple of {divisor} ({reason}), got {value}; use {options}"
        )


def check_size(kind: str, x: Tensor, least: int, reason: str) -> None:
    """Check that feature maps have the height and width that a block needs.

    Raises:
        ValueError: they are smaller.
    """
    height, width = x.shape[2:]
    if height < least or width < least:
        raise ValueError(
            f"{kind}: an image of {height}x{width} pixels is too small, {reason}; "
            f"use one of at least {least}x{least}"
        )
