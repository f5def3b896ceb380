"""Names whose bytes are no UTF-8."""

import os

import pytest

from nas.system.files.file_names import escape_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"caf\xe9.png", "caf\\xe9.png"), (b"\xff\xfe", "\\xff\\xfe"), ("é.png".encode(), "é.png")],
)
def test_bytes_that_are_no_text_are_escaped(name, shown):
    assert escape_name(os.fsdecode(name)) == shown
    escape_name(os.fsdecode(name)).encode()
