"""From what was typed to the call of a command: compose, check, build, run."""

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from nas.cli import catalog, help_page, schema
from nas.cli.annotations import parameter_of
from nas.cli.composition import Composition, compose_command, compose_typed
from nas.cli.exit_status import OK
from nas.cli.habits import is_comma_list, run_each
from nas.cli.invocation import USER_ERRORS, Invocation, UsageError, did_you_mean
from nas.cli.message import message_of, part
from nas.system.faults import OutputError
from nas.system.streams import printable


def run_command(arguments: list[str]) -> int:
    """Print a page of help, or call the command that the first argument names.

    Returns:
        Its exit status.
    Raises:
        UsageError: what was typed cannot be done.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_page.overview())
        return OK

    # The help of a command shows the values that it would run with, so overrides count.
    command, *rest = arguments
    if command == "--version":
        print(help_page.version_line())
        return OK

    # Commands are listed from their configurations: a new one needs no edit here.
    known = catalog.commands()
    if command not in known:
        raise UsageError(
            f"unknown command {part(command)!r}: choose from {', '.join(known)}"
            + did_you_mean(command, known)
        )

    if "-h" in rest or "--help" in rest:
        with _usage_errors():
            overrides = [argument for argument in rest if argument not in ("-h", "--help")]
            composition = compose_command(command, overrides)
        print(help_page.command_page(composition))
        return OK

    return _call_command(command, rest)


def _call_command(command: str, overrides: list[str]) -> int:
    """Compose, check and build a command's configuration, then call the command with the parts."""
    # Types are checked after the import: they are those of the command's parameters.
    module, composition = _load_command(command, overrides)
    configure = find_schema(module)
    with _usage_errors():
        with _advice(composition):
            checked = schema.check(
                configure, composition.tree, composition.typed, given=("invocation",)
            )
        changes = printable(" ".join(composition.changed)) or "all defaults"
        _print_changes(f"nas {command}: {changes}")
        built: dict[str, Any] = schema.build(checked)
    parts = {parameter_of(key): value for key, value in built.items()}

    # Commands that store their call, to resume or to reproduce it, ask for it by name.
    if "invocation" in inspect.signature(configure).parameters:
        parts["invocation"] = Invocation(
            command=command,
            overrides=composition.overrides,
            choices=composition.choices,
            config=schema.plain(checked),
        )
    if configure is module.run:
        return int(module.run(**parts) or OK)
    return int(module.run(configure(**parts)) or OK)


def _print_changes(line: str) -> None:
    """Print what differs from the defaults.

    It is not what was asked for: where it cannot be printed, a search goes on without it, and a
    command that only prints fails at what it prints.

    Raises:
        ClosedOutputError: nobody reads the output.
    """
    with suppress(OutputError):
        print(line, flush=True)


def find_schema(module: ModuleType) -> Callable[..., Any]:
    """Return the function whose parameters are the keys of a command.

    That is its `run`, or its `configure` where it has one, whose value `run` is called with.
    """
    schema_function: Callable[..., Any] = getattr(module, "configure", module.run)
    return schema_function


def _load_command(command: str, overrides: list[str]) -> tuple[Any, Composition]:
    """Return a command's module and its composed configuration.

    To import the module can take seconds, of torch: what was typed is checked before.
    """
    stores = catalog.defines(command, "stored_run")
    resumes = stores and any(override.startswith("run=") for override in overrides)
    with _usage_errors():
        # The rest of a run's keys is known when its configuration has been read.
        composition = (compose_typed if resumes else compose_command)(command, overrides)
        check_early = importlib.import_module("nas.commands.early").check_early
        with _advice(composition):
            check_early(command, composition.tree, composition.typed)

    module = importlib.import_module(f"nas.commands.{command}")
    if resumes:
        with _usage_errors():
            stored = module.stored_run(list(overrides))
            composition = compose_command(command, overrides, stored=stored)

    return module, composition


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn every error into a usage error, which is one line and no traceback.

    Before a command runs, whatever goes wrong comes from what was typed.
    """
    try:
        yield
    except USER_ERRORS:
        raise
    # A file that refers to itself, or brackets without end.
    except RecursionError as error:
        raise UsageError("what was given is nested too deep, or refers to itself") from error
    except Exception as error:
        kind = type(error).__name__
        raise UsageError(f"what was given cannot be read ({kind}: {message_of(error)})") from error


@contextmanager
def _advice(composition: Composition) -> Iterator[None]:
    """Add to what a check refuses: what a missing key means, and what to do instead of a list."""
    try:
        yield
    except UsageError as error:
        text = str(error)
        # Messages of the schema start with the key.
        key = text.partition(" ")[0].rstrip(":")
        comment = composition.comment(key) if "has to be given" in text else ""
        if comment:
            raise UsageError(f"{error} ({comment})") from error
        # a,b where one value is expected was meant as a run over both.
        value = composition.typed.get(key, "")
        if is_comma_list(value) and "a list like" not in text:
            raise UsageError(f"{error}; {run_each(key, value)}") from error
        raise
