"""What has ended a command, on one line, and the exit status that follows."""

import errno
import os
from collections.abc import Sequence

from nas.cli import catalog
from nas.cli.exit_status import CLOSED_PIPE, FAULT, INTERRUPTED, WRONG_USE
from nas.cli.invocation import USER_ERRORS
from nas.cli.message import message_of, one_line, part
from nas.system.drafts import UnwritableError
from nas.system.faults import MachineError
from nas.system.streams import describe_os_error, drop_output, say_aside
from nas.system.torchrun import read_rank

# Errors that no other value of a key would mend: of what is written, and of the machine.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EBADF)
_FAULTS = (*UNWRITABLE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE)


def end_command(error: BaseException, arguments: Sequence[str]) -> int:
    """Say on one line what has ended a command; return the exit status.

    Raises:
        BaseException: the error, where the fault is ours, or developers ask where it came from.
    """
    # Whoever read the output, such as head, has seen enough.
    if isinstance(error, BrokenPipeError):
        drop_output()
        return status_of(error)

    name = _name_command(arguments)

    # Whatever is written into a file names it.
    if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE:
        drop_output()
        say_aside(f"{name}: standard output: {describe_os_error(error)}")
        return FAULT

    if is_ours(error) or os.environ.get("NAS_TRACEBACK"):
        raise error
    values = [argument.partition("=")[2] for argument in arguments]
    say_aside(one_line(f"{name}: {_describe_error(error, arguments)}", values))
    return status_of(error)


def is_ours(error: BaseException) -> bool:
    """Return whether an error is a fault of this program, which shows where it came from."""
    return not isinstance(error, (*USER_ERRORS, MachineError, KeyboardInterrupt))


def status_of(error: BaseException) -> int:
    """Return the exit status of a command that an error has ended.

    Example:
        >>> status_of(KeyboardInterrupt()), status_of(OSError(errno.ENOSPC, "full"))
        (130, 1)
    """
    if isinstance(error, KeyboardInterrupt):
        # `nas.cli.signals` says which signal it was.
        return int(getattr(error, "status", INTERRUPTED))
    if isinstance(error, BrokenPipeError):
        return CLOSED_PIPE
    if isinstance(error, (UnwritableError, MachineError)):
        return FAULT
    return FAULT if isinstance(error, OSError) and error.errno in _FAULTS else WRONG_USE


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
        where = _find_argument(str(error.filename), arguments) or error.filename
        text = describe_os_error(error)
        text = f"{where}: {text}" if where else text

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
