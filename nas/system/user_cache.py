"""The folder in which a user's machine keeps what is dear to make again."""

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """Return the folder esr-nas/NAME in XDG_CACHE_HOME, or in ~/.cache where that is not set.

    Raises:
        ValueError: there is neither XDG_CACHE_HOME nor a home directory.

    Example:
        >>> user_cache("images").parts[-2:]
        ('esr-nas', 'images')
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not home.is_absolute():  # as its specification says: a relative one is not taken
        try:
            home = Path.home() / ".cache"
        except RuntimeError:
            raise ValueError(
                "this user has no home directory; name a folder for files that are kept: "
                "XDG_CACHE_HOME=/path"
            ) from None

    return home / "esr-nas" / name
