"""Whose fault an error is: the network's, the machine's, or that of who reads the output."""

from collections.abc import Iterator
from contextlib import contextmanager


class OutputError(OSError):
    """Standard output cannot be written, as on a full disk."""


class ClosedOutputError(BrokenPipeError):
    """Whoever read the output, such as head, has gone."""


class ArchitectureError(Exception):
    """A network is to blame: it cannot be built, or its training fails, on whatever machine."""


class MachineError(Exception):
    """The machine failed, not what was asked for: a command ends in one line and exit status 1.

    Args:
        reason: what happened.
        way_out: how to go on, which ends the message; empty: there is nothing to go on with.
    """

    def __init__(self, reason: str, way_out: str = "") -> None:
        super().__init__(f"{reason}; {way_out}" if way_out else reason)
        self.reason = reason


@contextmanager
def blaming_machine(way_out: str) -> Iterator[None]:
    """Turn what a file or a disk refuses into a MachineError, and say how to go on.

    Args:
        way_out: ends the message.
    Raises:
        MachineError: the block raised one, or an OSError.
        ClosedOutputError: whoever read the output has gone.
    """
    try:
        yield
    except ClosedOutputError:  # the machine is well
        raise
    except MachineError as error:
        raise MachineError(str(error), way_out) from error
    except OSError as error:
        raise MachineError(describe_os_error(error, error.filename), way_out) from error


def describe_os_error(error: OSError, file: object = None) -> str:
    """Return what the system says of an error, in small letters.

    Args:
        file: stands first; None: no file is known, or it is named already.

    Example:
        >>> describe_os_error(OSError(28, "No space left on device"), "a/journal.log")
        'a/journal.log: no space left on device'
    """
    words = error.strerror.lower() if error.strerror else str(error) or type(error).__name__
    return words if file is None else f"{file}: {words}"
