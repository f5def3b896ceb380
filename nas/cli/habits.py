"""What users of Hydra and of other command lines type out of habit: refused with the form that works here."""

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
_LIST = re.compile(
    r"[^\s\[\]{}()'\"/\\]+(,[^\s\[\]{}()'\"/\\]+)+"
)  # a,b: what Hydra would sweep over


def refuse_habits(command: str, arguments: Sequence[str], keys: Collection[str]) -> None:
    """Refuse the first argument that is no KEY=VALUE, with the form that works.

    Args:
        keys: those of the command, groups among them; a hint names no other.
    Raises:
        UsageError: there is such an argument.
    """
    for place, argument in enumerate(arguments):
        following = arguments[place + 1] if place + 1 < len(arguments) else ""
        _refuse_option(command, argument, arguments)
        name, equals, value = argument.lstrip("+~-").partition("=")
        key = name.replace("-", "_")
        form = f"{key}={value}" if equals else f"{key}={_value(following)}"
        known = key.partition(".")[0] in keys
        hint = f": {part(form)}" if known else ""
        if argument[:1] in ("+", "~"):
            raise UsageError(f"{part(argument)}: keys are given plainly, without + or ~{hint}")
        if argument.startswith("-"):
            raise UsageError(
                f"{part(argument.partition('=')[0])!r} is not a key: a key is made of names and dots"
                + (f"; try {part(form)}" if known else did_you_mean(key, keys))
            )
        if not equals:
            raise UsageError(
                f"{part(argument)!r} is not of the form KEY=VALUE"
                + (f"; try {part(form)}" if known else "")
            )


def is_comma_list(text: str) -> bool:
    """Whether a typed value is a list as Hydra's multirun takes it: 10,20."""
    return _LIST.fullmatch(text) is not None


def run_each(key: str, text: str) -> str:
    """Say what to do instead of a run over several values."""
    first, second = map(part, text.split(",")[:2])
    return (
        f"there is no multirun: run the command once with {key}={first}, then with {key}={second}"
    )


def _refuse_option(command: str, argument: str, arguments: Sequence[str]) -> None:
    option = argument.partition("=")[0]
    if option in MULTIRUN:
        lists = [one.partition("=") for one in arguments if is_comma_list(one.partition("=")[2])]
        key, text = (lists[0][0], lists[0][2]) if lists else ("KEY", "A,B")
        raise UsageError(f"{option}: {run_each(key, text)}")
    if option in HELP_INSTEAD:
        raise UsageError(
            f"{option}: is Hydra's; nas {command} --help shows the keys and their values"
        )
    if option in FILES_OF_HYDRA:
        raise UsageError(
            f"{option}: is Hydra's; the configuration is changed by KEY=VALUE alone, see --help"
        )


def _value(following: str) -> str:
    """The value that stands behind a key as an argument of its own: --trials 5."""
    return (
        following
        if following and "=" not in following and not following.startswith("-")
        else "VALUE"
    )
