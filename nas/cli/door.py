"""The one way in: `nas COMMAND KEY=VALUE ...`; what a user did wrong ends in one line and exit status 2."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from nas.cli import catalog, help_page, schema
from nas.cli.composition import Composition, check_first_names, compose_command, message_of
from nas.cli.habits import is_comma_list, run_each
from nas.cli.invocation import Invocation, UsageError, did_you_mean
from nas.cli.message import one_line, part, printable
from nas.system.streams import make_printable

OK, WRONG_USE, INTERRUPTED, CLOSED_PIPE = 0, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status.

    Returns:  0, or 2 after one line on what the user gave, or 130 after Ctrl-C, or the command's own status.
    Raises:   whatever is our own fault.
    """
    make_printable()
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = f"nas {arguments[0]}" if arguments and arguments[0] in catalog.commands() else "nas"
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except (UsageError, *schema.USER_ERRORS) as error:
        if os.environ.get("NAS_TRACEBACK"):  # where it came from
            raise
        print(one_line(f"{name}: {_message(error, arguments)}"), file=sys.stderr)
        return WRONG_USE


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_page.overview())
        return OK
    command, *rest = arguments
    if command == "--version":
        print(help_page.version_line())
        return OK
    known = catalog.commands()
    if command not in known:
        raise UsageError(
            f"unknown command {part(command)!r}: choose from {', '.join(known)}"
            + did_you_mean(command, known)
        )
    if "-h" in rest or "--help" in rest:
        with _usage_errors():
            composition = compose_command(command, [a for a in rest if a not in ("-h", "--help")])
        print(help_page.command_page(composition))
        return OK
    return _call(command, rest)


def _call(command: str, overrides: list[str]) -> int:
    stores = catalog.defines(command, "stored_run") and any(o.startswith("run=") for o in overrides)
    if not stores:  # what was typed is refused before anything heavy is imported
        with _usage_errors():
            composition = compose_command(command, overrides)
            importlib.import_module("nas.commands.spec_files").check_spec_files(composition.tree)
    else:  # what the run was started with tells the rest of its keys
        with _usage_errors():
            check_first_names(command, overrides)
    module = importlib.import_module(f"nas.commands.{command}")
    with _usage_errors():
        if stores:
            composition = compose_command(
                command, overrides, stored=module.stored_run(list(overrides))
            )
        configure = find_schema(module)
        checked = _checked(configure, composition)
        print(
            f"nas {command}: {printable(' '.join(composition.changed)) or 'all defaults'}",
            flush=True,
        )
        parts: dict[str, Any] = schema.build(checked)
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


def find_schema(module: ModuleType) -> Callable[..., Any]:
    """Return the function whose parameters are the keys of a command.

    That is its `run`, or its `configure` where it has one, whose value `run` is called with.
    """
    schema_function: Callable[..., Any] = getattr(module, "configure", module.run)
    return schema_function


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Before a command runs, whatever goes wrong comes from what was typed: one line, never a traceback."""
    try:
        yield
    except (UsageError, *schema.USER_ERRORS):
        raise
    except RecursionError as error:
        raise UsageError("what was given is nested too deep, or refers to itself") from error
    except Exception as error:
        kind = type(error).__name__
        raise UsageError(f"what was given cannot be read ({kind}: {message_of(error)})") from error


def _checked(run: Callable[..., object], composition: Composition) -> dict[str, Any]:
    try:
        return schema.check(run, composition.tree, composition.typed, given=("invocation",))
    except UsageError as error:
        text = str(error)
        key = text.partition(" ")[0].rstrip(":")
        comment = composition.comment(key) if "has to be given" in text else ""
        if comment:
            raise UsageError(f"{error} ({comment})") from error
        value = composition.typed.get(key, "")
        if is_comma_list(value) and "a list like" not in text:
            raise UsageError(f"{error}; {run_each(key, value)}") from error
        raise


def _message(error: BaseException, arguments: Sequence[str]) -> str:
    """Say on one line what was wrong, with the key that brought it where that is known."""
    if isinstance(error, MemoryError):
        return f"it needs more memory than there is ({part(message_of(error))}); take something smaller"
    text = message_of(error)
    if isinstance(error, OSError) and error.strerror:
        file = str(error.filename)  # stands in an argument as typed, before ~ was expanded
        named = [a for a in arguments if "=" in a and file in (a.partition("=")[2], _expanded(a))]
        where = named[0] if named else error.filename
        text = f"{where}: {error.strerror.lower()}" if where else error.strerror.lower()
    node = next((note for note in getattr(error, "__notes__", []) if note), "")
    return f"{node}: {text}" if node and not text.startswith(node) else text


def _expanded(argument: str) -> str:
    return os.path.expanduser(argument.partition("=")[2])


if __name__ == "__main__":
    sys.exit(main())
