"""Habits from Hydra and other command lines: refused, with the form that works here."""

import re
from collections.abc import Collection, Sequence

from nas.cli.invocation import UsageError, did_you_mean
from nas.cli.message import part

MULTIRUN = ("-m", "--multirun")
HELP_INSTEAD = ("-c", "--cfg", "-i", "--info", "--resolve", "--hydra-help", "-p", "--package")
FILES_OF_HYDRA = (
    "-cn",
    "--config-name",
    "-cp",
    "--config-path",
    "-cd",
    "--config-dir",
    "--experimental-rerun",
)
# a,b: what Hydra's multirun would sweep over
_LIST = re.compile(r"[^\s\[\]{}()'\"/\\]+(,[^\s\[\]{}()'\"/\\]+)+")


def refuse_habits(command: str, arguments: Sequence[str], keys: Collection[str]) -> None:
    """Refuse the first argument that is no KEY=VALUE, with the form that works.

    Args:
        keys: those of the command, groups among them; a hint names no other.
    Raises:
        UsageError: there is such an argument.
    """
    for place, argument in enumerate(arguments):
        # A value may stand behind its key as an argument of its own: --trials 5.
        following = arguments[place + 1] if place + 1 < len(arguments) else ""
        _refuse_option(command, argument, arguments)

        # The form that works, as far as the argument and the one behind it let it be told.
        name, equals, value = argument.lstrip("+~-").partition("=")
        key = name.replace("-", "_")
        form = f"{key}={value}" if equals else f"{key}={_guess_value(following)}"
        is_key = key.partition(".")[0] in keys
        if argument[:1] in ("+", "~"):
            hint = f": {part(form)}" if is_key else ""
            raise UsageError(f"{part(argument)}: keys are given plainly, without + or ~{hint}")

        hint = f"; try {part(form)}" if is_key else ""
        # The rest is refused by what it lacks: a key of names and dots, or an equals sign.
        if argument.startswith("-"):
            option = part(argument.partition("=")[0])
            raise UsageError(
                f"{option!r} is not a key: a key is made of names and dots"
                + (hint or did_you_mean(key, keys))
            )
        if not equals:
            raise UsageError(f"{part(argument)!r} is not of the form KEY=VALUE{hint}")


def is_comma_list(text: str) -> bool:
    """Return whether a typed value is a list as Hydra's multirun takes it: 10,20.

    Example:
        >>> is_comma_list("10,20"), is_comma_list("[10,20]")
        (True, False)
    """
    return _LIST.fullmatch(text) is not None


def run_each(key: str, text: str) -> str:
    """Return the advice to run a command once for each of several values."""
    # Two of the values are enough to show the form.
    first, second = map(part, text.split(",")[:2])
    return (
        f"there is no multirun: run the command once with {key}={first}, then with {key}={second}"
    )


def _refuse_option(command: str, argument: str, arguments: Sequence[str]) -> None:
    """Refuse an option of Hydra's own, with what serves its purpose here.

    Raises:
        UsageError: the argument is such an option.
    """
    option = argument.partition("=")[0]

    # A sweep becomes one call for each of its values.
    if option in MULTIRUN:
        pairs = [argument.partition("=") for argument in arguments]
        lists = [(key, value) for key, _, value in pairs if is_comma_list(value)]
        key, text = lists[0] if lists else ("KEY", "A,B")
        raise UsageError(f"{option}: {run_each(key, text)}")
    if option in HELP_INSTEAD:
        raise UsageError(
            f"{option}: is Hydra's; nas {command} --help shows the keys and their values"
        )

    # Configurations come with the package; a user's own file is an option of a group.
    if option in FILES_OF_HYDRA:
        raise UsageError(
            f"{option}: is Hydra's; the configuration is changed by KEY=VALUE alone, see --help"
        )


def _guess_value(following: str) -> str:
    """Return the value that stands behind a key as an argument of its own: --trials 5."""
    if not following or "=" in following or following.startswith("-"):
        return "VALUE"
    return following
