"""What the user asked for, for a command that stores it, and the error that says what was wrong with it."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LONGEST_WORD = 60  # characters of a word that is compared with what is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of a command, as it can be stored and given again.

    overrides: in Hydra's grammar, one a key; choices: what is chosen in each group; config: what was
    composed, resolved, in plain containers.
    """

    command: str
    overrides: tuple[str, ...]
    choices: Mapping[str, str | list[str] | None]
    config: dict[str, Any]


class UsageError(ValueError):
    """What the user gave cannot be done: one line that names the key, what was wrong and what is allowed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Give '; did you mean ...?' for the closest known word, or nothing."""
    if len(word) > LONGEST_WORD:
        return ""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
