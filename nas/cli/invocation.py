"""One call of a command, for those that store it, and the error for what a user did wrong."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

USER_ERRORS = (ValueError, OSError, OverflowError, MemoryError)  # what a value or a file can cause
LONGEST_WORD = 60  # characters of a word that is compared with the names that there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of a command, as it can be stored and given again.

    Attributes:
        overrides: in Hydra's grammar, one a key.
        choices: what is chosen in each group.
        config: the composed configuration, resolved, in plain containers.
    """

    command: str
    overrides: tuple[str, ...]
    choices: Mapping[str, str | list[str] | None]
    config: dict[str, Any]


class UsageError(ValueError):
    """A user asked for what cannot be done.

    The message is one line that names the key, what was wrong and what is allowed.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return '; did you mean ...?' for the closest known word; empty where none is close.

    Example:
        >>> did_you_mean("trails", ["trials", "seed"])
        '; did you mean trials?'
    """
    # The comparison takes quadratic time, and a word may be as long as an argument.
    if len(word) > LONGEST_WORD:
        return ""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
