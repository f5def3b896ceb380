"""Whose fault an error is: the network's, or the machine's that it is evaluated on."""

from collections.abc import Iterator
from contextlib import contextmanager


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
    """
    try:
        yield
    except BrokenPipeError:  # whoever read the output has gone: the machine is well
        raise
    except (MachineError, OSError) as error:
        raise MachineError(_describe_error(error), way_out) from error


def _describe_error(error: Exception) -> str:
    """Return what an error says; of a file its name first."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
