"""What a block cannot take, refused in one line: arguments when it is made, images when it is
called.
"""

from torch import Tensor


def check_same_width(kind: str, in_channels: int, channels: int) -> None:
    """Refuse a block that adds its input to what it gives, in another width.

    Raises:
        ValueError: the widths differ.
    """
    if in_channels != channels:
        raise ValueError(
            f"{kind}.channels must be those of its input, which it adds, {in_channels}, got "
            f"{channels}; "
            f"use {in_channels}, or change the width before it"
        )


def check_number(name: str, value: int, *, such_as: int) -> None:
    """Refuse what is no whole number of at least one.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"{name} must be a whole number of at least 1, got {value!r}; such as {such_as}"
        )


def check_multiple(name: str, value: int, divisor: int, reason: str) -> None:
    """Refuse a number that cannot be divided.

    Args:
        reason: what it is divided into.

    Raises:
        ValueError: it is no multiple; the message names the nearest that are.
    """
    if value % divisor:
        above = -(-value // divisor) * divisor
        below = above - divisor
        options = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"{name} must be a multiple of {divisor} ({reason}), got {value}; use {options}"
        )


def check_size(kind: str, x: Tensor, least: int, reason: str) -> None:
    """Refuse feature maps of fewer pixels than a block needs in height and width.

    Raises:
        ValueError: they are smaller.
    """
    height, width = x.shape[2:]
    if height < least or width < least:
        raise ValueError(
            f"{kind}: an image of {height}x{width} pixels is too small, {reason}; "
            f"use one of at least {least}x{least}"
        )
