"""What a block cannot take, said in one line."""


def check_kept_width(kind: str, in_channels: int, channels: int, *, multiple: int) -> int:
    """The channels of a block that adds its input to what it gives, and that splits them.

    Raises:
        ValueError: they are not those of its input, or no multiple.
    """
    if in_channels != channels:
        raise ValueError(
            f"{kind}.channels must be those of its input, {in_channels}, which it adds, got {channels}; "
            "put a conv before it to change the width"
        )
    if channels % multiple:
        up = channels + -channels % multiple
        raise ValueError(
            f"{kind}.channels must be a multiple of {multiple} to be split, got {channels}; use {up}"
        )
    return channels


def check_whole(field: str, value: object, *, usual: int) -> int:
    """A whole number of at least one.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or value < 1:
        raise ValueError(f"{field} must be a whole number of at least 1, got {value!r}; such as {usual}")
    return value
