"""CSV files that users hand in: read, or refused with what is wrong and how to save them."""

import csv
import re
from pathlib import Path

from nas.cli.message import part

MAX_BYTES = 256 * 2**20  # of a file; trials.csv of 100,000 trials has some 150 MiB
MAX_FIELD = 1024 * 1024  # characters; an architecture's JSON has some thousand
REMEDY = "save it as comma-separated CSV in UTF-8"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
Row = dict[str, str]


def read_csv(path: Path, place: str) -> tuple[list[str], list[tuple[int, Row]]]:
    """Return the columns of a CSV file, and its rows by line number; blank lines are left out.

    Args:
        place: the key and the file, for messages.
    Raises:
        OSError: the file cannot be read.
        ValueError: it is no CSV file in UTF-8, is separated by something else, has no rows, a
            column twice, or a row with more or fewer fields than columns.
    """
    # A quoted field may hold line breaks, so they are kept for the reader to judge.
    text = _decode_file(path, place)
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    lines = []
    try:
        header = [name.strip() for name in next(reader, [])]
        for fields in reader:
            # Spreadsheets end a table with rows of empty cells.
            if any(field.strip() for field in fields):
                lines.append((reader.line_num, fields))
    except csv.Error as error:
        raise ValueError(f"{place}: not a CSV file in UTF-8: {error}") from error

    _check_shape(header, lines, place)
    return header, [(line, dict(zip(header, fields, strict=True))) for line, fields in lines]


def _check_shape(header: list[str], lines: list[tuple[int, list[str]]], place: str) -> None:
    """Check that a table has columns, rows, and a field for each column in each row.

    Raises:
        ValueError: it has not.
    """
    # From the likeliest cause to the least: a wrong separator also gives a single column.
    if not header:
        raise ValueError(f"{place}: the file is empty; the first line must name the columns")
    _check_separator(header, lines, place)
    doubled = next((name for name in header if header.count(name) > 1), None)
    if doubled is not None:
        raise ValueError(f"{place}: the column {part(doubled)!r} stands there twice")
    odd = next((name for name in header if not name.isprintable()), None)
    if odd is not None:
        raise ValueError(f"{place}: the column {part(ascii(odd))} has a name that is not printable")
    if not lines:
        raise ValueError(f"{place}: the file has a header but no rows")

    # Lines are numbered as an editor shows them.
    for line, fields in lines:
        if len(fields) != len(header):
            raise ValueError(
                f"{place}, line {line}: {len(fields)} fields under {len(header)} columns; "
                "a field that holds a comma stands in double quotes"
            )


def number_hint(text: str) -> str:
    """Return what is wrong with a number as spreadsheets write it; empty: that is not known.

    Example:
        >>> number_hint("7,74")
        '; write it with a decimal point'
    """
    # Each pattern is a habit of a spreadsheet, with the words that undo it.
    plain = text.strip()
    if not plain:
        return "; the cell is empty: fill it, or leave the row out"

    # 9,830,000 or 9 830 000; the space may be one that does not break.
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(?:[ '\u00a0\u202f]\d{3})+", plain):
        return "; write it without separators of thousands, and with a decimal point"
    if _DECIMAL_COMMA.fullmatch(plain):
        return "; write it with a decimal point"

    # 7.74 ms
    if re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?\s*[^\d\s.,].*", plain, re.IGNORECASE):
        return "; write the number alone, its unit is in the name of the column"
    return ""


def _decode_file(path: Path, place: str) -> str:
    """Return the text of a file in UTF-8, without a byte-order mark.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, or in another encoding.
    """
    # One byte over the limit is read, to tell a file of that size from a larger one.
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"{place}: holds more than {MAX_BYTES // 2**20} MiB; no table of networks does"
        )

    # Without a mark, UTF-16 of Western text shows by its zeros: every second byte.
    start = data[:4096]
    if data.startswith(_UTF16) or start.count(b"\0") * 3 > len(start):
        raise ValueError(f"{place}: not a CSV file in UTF-8 but in UTF-16; {REMEDY}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A byte and its line are what an editor can search for.
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise ValueError(
            f"{place}: not a CSV file in UTF-8: byte {byte:#x} in line {line}; {REMEDY}"
        ) from None


def _check_separator(header: list[str], lines: list[tuple[int, list[str]]], place: str) -> None:
    """Check that fields are separated by commas.

    Raises:
        ValueError: the first line is one field that holds semicolons, tabs or bars.
    """
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) > 1 or mark not in header[0]:
            continue

        # Where semicolons separate fields, numbers mostly have decimal commas: both have to change.
        cells = [cell for _, fields in lines for cell in ",".join(fields).split(mark)]
        commas = point = ""
        if any(map(_DECIMAL_COMMA.fullmatch, cells)):
            commas, point = " and its numbers have decimal commas", " with a decimal point"
        raise ValueError(f"{place}: its fields are separated by {name}{commas}; {REMEDY}{point}")
