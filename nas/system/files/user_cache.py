"""The folder in which a user's machine keeps what is dear to make again."""

import os
from pathlib import Path

from nas.system.files.private_folder import open_private


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


def private_cache(name: str) -> Path:
    """Return the folder of `user_cache`, made, once it is certain that this user alone writes it.

    For what is loaded as code or believed without a look at what it was made from.

    Raises:
        ValueError: see `user_cache`.
        OSError: it cannot be made, or is not this user's alone (a PermissionError).
    """
    folder = user_cache(name)
    way_out = "remove it, or name another folder: XDG_CACHE_HOME=/path"
    # Whoever owns the folder above could put another one in its place.
    open_private(folder.parent, way_out=way_out)
    return open_private(folder, way_out=way_out)
