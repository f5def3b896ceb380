"""What has ended a command, on one line, and the exit status that follows."""

import errno
import os
from collections.abc import Sequence

from nas.cli import catalog
from nas.cli.exit_status import CLOSED_PIPE, FAULT, INTERRUPTED, WRONG_USE
from nas.cli.invocation import USER_ERRORS
from nas.cli.message import message_of, one_line, part
from nas.system.console import open_console, print_lines
from nas.system.faults import (
    ClosedOutputError,
    MachineError,
    OutputError,
    describe_os_error,
)
from nas.system.files.drafts import UnwritableError
from nas.system.streams import STANDARD_OUTPUT, drop_output, say_aside
from nas.system.torchrun import read_rank

# Errors that no other value of a key would mend: of what is written, and of the machine.
_FAULTS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EBADF),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE),
)
# Commands that take long and keep what they did. They say themselves how one of them goes on that
# had begun: an error that comes up to here came before.
LONG = ("search", "tabulate", "train", "trust")
UNREAD = "nobody reads its output"


def end_command(error: BaseException, arguments: Sequence[str]) -> int:
    """Say on one line what has ended a command; return the exit status.

    Raises:
        BaseException: the error, where the fault is ours, or developers ask where it came from.
    """
    name = _name_command(arguments)

    # Whoever read the output, such as head, has seen enough of a command that only prints.
    if isinstance(error, ClosedOutputError):
        drop_output()
        if _is_long(arguments):
            say_aside(f"{name}: {UNREAD}; nothing was begun")
        return status_of(error)

    if isinstance(error, OutputError):
        drop_output()
        say_aside(f"{name}: {describe_os_error(error, STANDARD_OUTPUT)}")
        return status_of(error)

    if is_ours(error) or os.environ.get("NAS_TRACEBACK"):
        raise error
    values = [argument.partition("=")[2] for argument in arguments]
    say_aside(one_line(f"{name}: {_describe_error(error, arguments)}", values))
    return status_of(error)


def is_ours(error: BaseException) -> bool:
    """Return whether an error is a fault of this program, which shows where it came from."""
    known = (*USER_ERRORS, MachineError, OutputError, ClosedOutputError, KeyboardInterrupt)
    return not isinstance(error, known)


def end_early(command: str, stop: BaseException, line: str) -> int:
    """Say how to go on with a command that was stopped; return its exit status.

    Of several processes the first one speaks.

    Args:
        stop: a KeyboardInterrupt, or a ClosedOutputError: then the line goes to standard error.
    """
    if read_rank():
        return status_of(stop)
    if isinstance(stop, ClosedOutputError):
        drop_output()
        say_aside(f"nas {command}: {UNREAD}. {line}")
    else:
        print_lines(open_console(lasts=True), [line])
    return status_of(stop)


def status_of(error: BaseException) -> int:
    """Return the exit status of a command that an error has ended.

    What names no file comes from no value of a key: the system has refused something.

    Example:
        >>> status_of(KeyboardInterrupt()), status_of(OSError(errno.ENOSPC, "full"))
        (130, 1)
    """
    if isinstance(error, KeyboardInterrupt):
        # `nas.cli.signals` says which signal it was.
        return int(getattr(error, "status", INTERRUPTED))
    if isinstance(error, ClosedOutputError):
        return CLOSED_PIPE
    if isinstance(error, (UnwritableError, MachineError)):
        return FAULT
    if not isinstance(error, OSError) or error.errno is None:
        return WRONG_USE
    return FAULT if error.filename is None or error.errno in _FAULTS else WRONG_USE


def _is_long(arguments: Sequence[str]) -> bool:
    """Whether a command was to do what it keeps: its help only prints."""
    return bool(arguments) and arguments[0] in LONG and not {"-h", "--help"} & {*arguments}


def _name_command(arguments: Sequence[str]) -> str:
    """Return what a message starts with: the command, where what was typed is one.

    Of several processes all but the first one say their number.
    """
    is_command = bool(arguments) and arguments[0] in catalog.commands()
    name = f"nas {arguments[0]}" if is_command else "nas"
    return f"{name}, process {read_rank()}" if read_rank() else name


def _describe_error(error: BaseException, arguments: Sequence[str]) -> str:
    """Return on one line what was wrong, with the key that brought it where that is known."""
    if isinstance(error, MemoryError):
        cause = part(message_of(error))
        return f"it needs more memory than there is ({cause}); take something smaller"

    text = message_of(error)
    if isinstance(error, OSError) and error.strerror:
        where = error.filename
        if where is not None:
            where = _find_argument(str(where), arguments) or where
        text = describe_os_error(error, where)

    # `schema.build` notes the key of the object whose constructor refused its values.
    node = next((note for note in getattr(error, "__notes__", []) if note), "")
    return f"{node}: {text}" if node and not text.startswith(node) else text


def _find_argument(file: str, arguments: Sequence[str]) -> str | None:
    """Return the argument that names a file, as it was typed; ~ stands for the user's folder."""
    for argument in arguments:
        _, equals, value = argument.partition("=")
        if equals and file in (value, os.path.expanduser(value)):
            return argument
    return None
