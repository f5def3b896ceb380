import subprocess
import sys
from pathlib import Path

import pytest
from rich import box

import nas
from nas.system import streams

SAY = """
import sys
from nas.system.streams import make_printable
make_printable()
print(sys.argv[1])
print(sys.argv[1], file=sys.stderr)
"""
BOXES = {
    letter
    for name in vars(box)
    if isinstance(kind := getattr(box, name), box.Box)
    for letter in str(kind)
}


def said(text, encoding, **options):
    """What a process prints of a text on both of its streams."""
    command = [sys.executable, "-c", SAY, text]
    environment = {"PYTHONIOENCODING": encoding, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, check=True, env=environment, **options)
    assert done.stdout == done.stderr
    return done.stdout.decode(encoding.partition(":")[0]).rstrip("\r\n")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "gain −0.042 dB ± 0.01, 6× spab · Zoë … 猫"),
        ("latin-1", "gain -0.042 dB ± 0.01, 6× spab · Zoë ... \\u732b"),
        ("ascii", "gain -0.042 dB +- 0.01, 6x spab - Zoe ... \\u732b"),
        ("ascii:strict", "gain -0.042 dB +- 0.01, 6x spab - Zoe ... \\u732b"),
        ("cp437", "gain -0.042 dB ± 0.01, 6x spab · Zoë ... \\u732b"),
        ("gbk", "gain -0.042 dB ± 0.01, 6× spab · Zoe … 猫"),
    ],
)
def test_every_encoding_takes_what_is_printed(encoding, expected):
    assert said("gain −0.042 dB ± 0.01, 6× spab · Zoë … 猫", encoding) == expected


def test_a_file_name_of_other_bytes_is_printed_escaped():
    assert said("caf\udce9.png", "utf-8") == "caf\\udce9.png"


def test_every_line_that_rich_draws_becomes_one_of_ascii():
    drawn = {letter: streams._to_ascii(letter) for letter in BOXES if not letter.isascii()}
    assert len(drawn) > 20
    assert set(drawn.values()) == {"-", "|", "+"}
    assert [drawn[letter] for letter in "─━│┃┌╋╰"] == ["-", "-", "|", "|", "+", "+", "+"]


def test_everything_that_we_print_has_a_readable_stand_in():
    ours = {
        letter
        for path in Path(nas.__file__).parent.rglob("*.py")
        for letter in path.read_text("utf-8")
    }
    assert {letter for letter in ours if "\\" in streams._to_ascii(letter)} - {"\\"} == set()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_is_closed_is_no_error(closed):
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" text {closed}', sys.executable, SAY],
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stdout + done.stderr
