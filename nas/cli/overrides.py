"""One typed KEY=VALUE: read within bounds, by Hydra's grammar or as text."""

import re
from collections.abc import Mapping
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from nas.cli.invocation import UsageError
from nas.cli.message import part
from nas.cli.own_files import REFERENCE, references

MAX_ARGUMENT = 8 * 1024  # characters
MAX_NESTED = 20  # brackets within brackets
_KEY = re.compile(r"[A-Za-z_][\w-]*(?:[./][\w-]+)*")
_BRACKETS = {"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}


def parse(argument: str) -> Override:
    """Read key=value; a value that Hydra's grammar does not take is text, as the user meant it.

    Raises:
        UsageError: it is no key=value, it is too long or too deep, or brackets do not close.

    Example:
        >>> parse("limits.params=150e3").value(), parse("weights=model (1).pth").value()
        (150000.0, 'model (1).pth')
    """
    key, equals, value = argument.partition("=")
    if not equals:
        raise UsageError(f"{part(argument)!r} is not of the form KEY=VALUE")
    if not _KEY.fullmatch(key):
        raise UsageError(f"{part(key)!r} is not a key: a key is made of names and dots")
    _check_text(key, value)

    # In Hydra's grammar ~ deletes a key, and a,b is a sweep: both are text here.
    if not value.startswith("~"):
        override = _parse_grammar(key, value)
        if override is not None and not override.is_sweep_override():
            _check_references(key, override.value())
            return override

    # The shell expands a ~ at the start of a word, not the one after =.
    if value == "~" or value.startswith("~/"):
        value = str(Path(value).expanduser())
    _check_references(key, value)
    return OverridesParser.create().parse_override(f"{key}={quoted(value)}")


def _parse_grammar(key: str, value: str) -> Override | None:
    """Return what Hydra's grammar makes of a value; None: it takes no such value.

    Raises:
        UsageError: it is a list or a mapping that cannot be read, or too large a number.
    """
    try:
        return OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        # Nobody means text that starts with a bracket.
        if value[:1] in ("[", "{"):
            raise UsageError(
                f"{key}: cannot read {part(value)}; a list is [a,b], and items with spaces, "
                "parentheses or non-ASCII letters stand in quotes: ['a (1)',b]"
            ) from None
        return None
    except ValueError:  # Python reads no number of more than 4,300 digits
        raise UsageError(f"{key}: {part(value)} is too large a number") from None


def _check_text(key: str, value: str) -> None:
    """Check that a value can be read within bounds, and written as text.

    Raises:
        UsageError: it is too long, too deep, or no text in UTF-8.
    """
    # Hydra's parser calls itself for each bracket, so depth is bounded before it starts.
    depth = 0
    for mark in value:
        depth += _BRACKETS.get(mark, 0)
        if depth > MAX_NESTED:
            raise UsageError(
                f"{part(key)}: brackets are nested more than {MAX_NESTED} deep: no value is"
            )

    if len(key) + len(value) > MAX_ARGUMENT:
        raise UsageError(
            f"{part(key)}: a value is at most {MAX_ARGUMENT} characters, got {len(value)}"
        )

    # A lone surrogate stands for a byte of a file's name that is no UTF-8.
    if "\0" in value or any("\ud800" <= mark <= "\udfff" for mark in value):
        raise UsageError(f"{key}: {part(value)!r} holds what is no text in UTF-8; rename the file")


def _check_references(key: str, value: object) -> None:
    """Check that a value refers to other keys alone, such as `${scale}`.

    Other resolvers could compute, or read the environment.

    Raises:
        UsageError: it holds something else in `${...}`.
    """
    for text in references(value):
        if "${" in REFERENCE.sub("", text):
            raise UsageError(
                f"{key}: {part(text)!r} is not read; "
                "a reference is the name of a key, such as ${scale}"
            )


def refuse_chains(parsed: Mapping[str, Override]) -> None:
    """Refuse references to what is a reference itself: a few of them can make gigabytes.

    Raises:
        UsageError: a key refers to one that holds a reference, or lies above or below one.
    """
    # With a=${b}${b} b=${c}${c} and so on, each key doubles the text.
    names_by_key = {
        key: {name for text in references(override.value()) for name in REFERENCE.findall(text)}
        for key, override in parsed.items()
    }
    holders = [key for key, names in names_by_key.items() if names]
    for key in holders:
        for name in names_by_key[key]:
            # A key above one with a reference holds it too, and so does one below it.
            if any(_overlap(name, holder) for holder in holders):
                raise UsageError(
                    f"{key}: ${{{part(name)}}} is itself given as a reference; write its value out"
                )


def _overlap(key: str, other: str) -> bool:
    """Return whether one of two dotted keys is the other, or lies above it."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def quoted(value: str) -> str:
    """Return a text in quotes, as Hydra's grammar reads it back.

    Example:
        >>> print(quoted("it's"))
        'it\\'s'
    """
    # A backslash escapes only before a quote: there alone it has to be doubled itself.
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", value)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return "'" + escaped + "\\" * trailing + "'"
