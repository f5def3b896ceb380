"""The folder in which a user's machine keeps what is dear to make again."""

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """Return the folder esr-nas/NAME in XDG_CACHE_HOME, or in ~/.cache where that is not set.

    Example:
        >>> user_cache("images").parts[-2:]
        ('esr-nas', 'images')
    """
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "esr-nas" / name
