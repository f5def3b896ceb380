"""The one way in, `nas COMMAND KEY=VALUE ...`: whatever ends a command is one line and a status."""

import sys
from collections.abc import Callable, Sequence

from nas.cli.exit_status import FAULT, INTERRUPTED
from nas.cli.signals import heard
from nas.system.streams import make_printable, say_aside, telling_output_apart
from nas.system.torchrun import claim_last_word, silencing_followers


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: the command and its overrides; None: those of this process, which ends then.
    Returns:
        One of `nas.cli.exit_status`, or the command's own status; where it is not 0, one line on
        standard error says why.
    Raises:
        Exception: the fault is ours.

    Example:
        >>> main(["rank", "challenge=nobody"])  # one line on standard error says what there is
        2
    """
    arguments = list(sys.argv[1:] if argv is None else argv)

    def run() -> int:
        # Loaded here: it takes a moment, in which Ctrl-C is one line too.
        from nas.cli.calls import run_command

        return run_command(arguments)

    return run_guarded(run, arguments, until_the_end=argv is None)


def run_guarded(run: Callable[[], int], arguments: Sequence[str], *, until_the_end: bool) -> int:
    """Run something as a command; return its exit status.

    Args:
        arguments: the command and its overrides, for messages.
        until_the_end: whether the process ends then.
    """
    make_printable()
    with (
        silencing_followers(),
        heard(until_the_end=until_the_end) as signals,
        telling_output_apart(),
    ):
        try:
            status = run()
            sys.stdout.flush()
            return status
        except (Exception, KeyboardInterrupt) as error:
            # Of several processes one says what ended all of them.
            if not claim_last_word():
                return _find_status(signals.stop or error)
            # What comes up while a command ends follows from what has ended it.
            if signals.stop or isinstance(error, KeyboardInterrupt):
                return _say_interrupted(arguments, signals.stop or error)
            from nas.cli.ending import end_command

            return end_command(error, arguments)


def _find_status(error: BaseException) -> int:
    """Return the exit status of a process that has nothing to say of what has ended it."""
    from nas.cli.ending import is_ours, status_of

    return FAULT if is_ours(error) else status_of(error)


def _say_interrupted(arguments: Sequence[str], stop: BaseException) -> int:
    """Say that a command was stopped; return the exit status.

    Of what it takes nothing is loaded here: a module may be half loaded by now.
    """
    name = f"nas {arguments[0]}" if arguments and arguments[0].isalpha() else "nas"
    say_aside(f"{name}: interrupted")
    return int(getattr(stop, "status", INTERRUPTED))


if __name__ == "__main__":
    sys.exit(main())
