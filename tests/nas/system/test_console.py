"""What reaches a terminal: no markup is read, and no character is obeyed."""

import io

import pytest
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nas.system.console import PlainConsole, print_lines
from nas.system.faults import ClosedOutputError

# rich itself drops \r and \a of a Text.
HOSTILE = "a[/y]b[red]:fire:\x1b[2J\x9b31m\u202e\ud800"
SHOWN = r"a[/y]b[red]:fire:\x1b[2J\x9b31m\u202e\ud800"


def make_table(text):
    table = Table(title=text)
    table.add_column(text, footer=text)
    table.add_column("n")
    table.add_row(text, "1")
    table.add_row(Text(text), "2")
    return table


@pytest.mark.parametrize(
    "make",
    [
        str,
        Text,
        lambda text: Text(text, style="bold"),
        lambda text: Text.assemble((text, "red"), "  more"),
        make_table,
        lambda text: Group(text, Text(text)),
        lambda text: Group(make_table(text)),
    ],
)
@pytest.mark.parametrize("terminal", [False, True])
def test_no_text_is_obeyed_wherever_it_stands(make, terminal):
    file = io.StringIO()
    console = PlainConsole(file=file, width=120, force_terminal=terminal, color_system=None)
    console.print(make(HOSTILE))
    printed = file.getvalue()
    assert SHOWN in printed
    assert printed.replace("\n", "").isprintable()


def test_no_text_is_obeyed_on_a_live_screen():
    file = io.StringIO()
    console = PlainConsole(file=file, width=120, force_terminal=True, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        live.update(Group(Text(HOSTILE), make_table(HOSTILE)), refresh=True)
    printed = file.getvalue()
    assert SHOWN in printed
    assert "\x1b[2J" not in printed
    assert "\x9b" not in printed


def test_columns_stand_where_they_would_with_any_name_of_that_length():
    lines = []
    for name in ("\x1b[2J", r"\x1b[2J"):
        file = io.StringIO()
        PlainConsole(file=file, width=60).print(make_table(name))
        lines.append(file.getvalue())
    assert lines[0] == lines[1]


def test_a_line_stays_one_line():
    file = io.StringIO()
    print_lines(PlainConsole(file=file, width=20), ["one\ntwo " + "x" * 50, "three"])
    assert file.getvalue() == rf"one\ntwo {'x' * 50}" + "\nthree\n"


def test_a_reader_that_has_gone_is_an_error_of_ours():
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    with pytest.raises(ClosedOutputError):
        PlainConsole(file=Closed()).print("x")
