"""The form of a message, and long or hostile values of every key of every command."""

import functools
import importlib
import itertools

import pytest

from nas.cli import catalog
from nas.cli.calls import find_schema
from nas.cli.composition import compose_command
from nas.cli.door import main
from nas.cli.help_page import _flatten_keys
from nas.cli.message import MAX_LINE, MAX_PART, MAX_PATH, one_line, part

VALUES = ("x" * 10_000, "x" * 500, "[" + "y" * 500 + "]", "[/b]\x1b[2J\u202e" * 30)
HOSTILE = "[/b]\x1b[2J\r\n\u202e[red]:fire:"


@pytest.mark.parametrize("value", ["x" * 10_000, "a b " * 2500, "x/" * 5000, HOSTILE * 500])
def test_a_message_shows_eighty_characters_of_a_value_and_its_end(value):
    line = one_line(f"nas rank: table={value}: there is no such file", [value])
    assert len(line) <= len("nas rank: table=: there is no such file") + MAX_PART
    assert line.startswith("nas rank: table=")
    assert line.endswith(": there is no such file")
    assert line.isprintable()


def test_a_long_word_that_nobody_typed_is_cut_and_a_path_is_not():
    path = "/tmp/" + "/".join(["folder"] * 20)
    assert MAX_PART < len(path) < MAX_PATH
    assert one_line(f"run={path}: no", [path]) == f"run={path}: no"
    assert one_line(f"cell {'9' * 500} is no number") == (
        f"cell {'9' * 39}...{'9' * 38} is no number"
    )


def test_a_part_has_eighty_characters():
    assert len(part("x" * 81)) == 80
    assert part("x" * 80) == "x" * 80


def list_keys(command):
    """Every key of a command, and its groups."""
    composition = compose_command(command, [])
    return [*_flatten_keys(composition.tree), *composition.choices]


@pytest.mark.parametrize("command", catalog.commands())
def test_a_wrong_value_of_any_key_is_one_short_line(command, tmp_path, monkeypatch, capfd):
    """Values that hardly any key takes, of every key; the command itself does not run."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"nas.commands.{command}")
    has_configuration = find_schema(module) is not module.run
    if has_configuration:
        monkeypatch.setattr(module, "run", lambda config: 0)
    else:
        monkeypatch.setattr(module, "run", stand_in(module.run))

    num_refused = 0
    for key, value in zip(list_keys(command), itertools.cycle(VALUES), strict=False):
        status = main([command, f"{key}={value}"])
        printed = capfd.readouterr()
        assert list(tmp_path.iterdir()) == [], key
        assert status in (0, 2), (key, printed)
        if status == 0:
            continue
        num_refused += 1
        line = printed.err[:-1]
        assert line.isprintable(), (key, line)
        assert len(line) <= MAX_LINE, (key, line)
        assert all(letter * (MAX_PART + 1) not in line for letter in "xy"), (key, line)
    assert num_refused


def stand_in(run):
    """A function of the same keys that does nothing."""

    @functools.wraps(run)
    def do_nothing(**values):
        return 0

    return do_nothing
