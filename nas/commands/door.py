"""The former place of `nas.cli.door.main`, for scripts that import it from here."""

from nas.cli.door import main

__all__ = ["main"]
