"""One typed KEY=VALUE: read within bounds, by Hydra's grammar or as the text that the user meant."""

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

    Raises:   UsageError: it is no key=value, it is too long or too deep, or brackets do not close.
    """
    key, equals, value = argument.partition("=")
    if not equals:
        raise UsageError(f"{part(argument)!r} is not of the form KEY=VALUE")
    if not _KEY.fullmatch(key):
        raise UsageError(f"{part(key)!r} is not a key: a key is made of names and dots")
    _check_text(key, value)
    parser = OverridesParser.create()
    if not value.startswith("~"):
        try:
            override = parser.parse_override(argument)
        except HydraException:
            if value[:1] in ("[", "{"):
                raise UsageError(
                    f"{key}: cannot read {part(value)}; a list is [a,b], and items with spaces, parentheses "
                    "or non-ASCII letters stand in quotes: ['a (1)',b]"
                ) from None
        except ValueError:  # Python reads no number of more than 4,300 digits
            raise UsageError(f"{key}: {part(value)} is too large a number") from None
        else:
            if not override.is_sweep_override():
                _check_references(key, override.value())
                return override
    if value == "~" or value.startswith("~/"):  # the shell leaves a ~ after = alone
        value = str(Path(value).expanduser())
    _check_references(key, value)
    return parser.parse_override(f"{key}={quoted(value)}")


def _check_text(key: str, value: str) -> None:
    """Refuse what no reader of ours should see: too long, too deep, or not writable as text."""
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
    if "\0" in value or any("\ud800" <= mark <= "\udfff" for mark in value):
        raise UsageError(f"{key}: {part(value)!r} holds what is no text in UTF-8; rename the file")


def _check_references(key: str, value: object) -> None:
    """Let `${scale}` refer to another key; nothing that computes, or reads the environment, is resolved."""
    for text in references(value):
        if "${" in REFERENCE.sub("", text):
            raise UsageError(
                f"{key}: {part(text)!r} is not read; a reference is the name of a key, such as ${{scale}}"
            )


def refuse_chains(parsed: Mapping[str, Override]) -> None:
    """Refuse references to what is a reference itself: a few of them can make gigabytes."""
    names = {
        key: {name for text in references(override.value()) for name in REFERENCE.findall(text)}
        for key, override in parsed.items()
    }
    holders = [key for key, found in names.items() if found]
    for key in holders:
        for name in names[key]:
            if any(
                f"{name}.".startswith(f"{one}.") or f"{one}.".startswith(f"{name}.")
                for one in holders
            ):
                raise UsageError(
                    f"{key}: ${{{part(name)}}} is itself given as a reference; write its value out"
                )


def quoted(value: str) -> str:
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", value)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return "'" + escaped + "\\" * trailing + "'"
