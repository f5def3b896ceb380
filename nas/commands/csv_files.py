"""CSV files that users hand in: what spreadsheets write is read, or refused by what it is."""

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
        ValueError: it is no CSV file in UTF-8, is separated by something else, has no rows, a column twice,
            or a row with more or fewer fields than columns.
    """
    text = _decoded(path, place)
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        lines = [
            (reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)
        ]
    except csv.Error as error:
        raise ValueError(f"{place}: not a CSV file in UTF-8: {error}") from error
    if not header:
        raise ValueError(f"{place}: the file is empty; the first line must name the columns")
    _check_separator(header, lines, place)
    doubled = next((name for name in header if header.count(name) > 1), None)
    if doubled is not None:
        raise ValueError(f"{place}: the column {part(doubled)!r} stands there twice")
    if not lines:
        raise ValueError(f"{place}: the file has a header but no rows")
    for line, fields in lines:
        if len(fields) != len(header):
            raise ValueError(
                f"{place}, line {line}: {len(fields)} fields under {len(header)} columns; "
                "a field that holds a comma stands in double quotes"
            )
    return header, [(line, dict(zip(header, fields, strict=True))) for line, fields in lines]


def number_hint(text: str) -> str:
    """Say what is wrong with a number as spreadsheets write it; empty where nothing is known."""
    plain = text.strip()
    if not plain:
        return "; the cell is empty: fill it, or leave the row out"
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(?:[ '\u00a0\u202f]\d{3})+", plain):
        return "; write it without separators of thousands, and with a decimal point"
    if _DECIMAL_COMMA.fullmatch(plain):
        return "; write it with a decimal point"
    if re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?\s*[^\d\s.,].*", plain, re.IGNORECASE):
        return "; write the number alone, its unit is in the name of the column"
    return ""


def _decoded(path: Path, place: str) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"{place}: holds more than {MAX_BYTES // 2**20} MiB; no table of networks does"
        )
    if data.startswith(_UTF16) or (
        b"\0" in data[:4096] and data[:4096].count(b"\0") * 3 > len(data[:4096])
    ):
        raise ValueError(f"{place}: not a CSV file in UTF-8 but in UTF-16; {REMEDY}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{place}: not a CSV file in UTF-8: byte {data[error.start]:#x} in line {line}; {REMEDY}"
        ) from None


def _check_separator(header: list[str], lines: list[tuple[int, list[str]]], place: str) -> None:
    """Refuse a table whose first line is one field with semicolons or tabs in it."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) > 1 or mark not in header[0]:
            continue
        cells = [cell for _, fields in lines for cell in ",".join(fields).split(mark)]
        commas = (
            " and its numbers have decimal commas"
            if any(map(_DECIMAL_COMMA.fullmatch, cells))
            else ""
        )
        point = " with a decimal point" if commas else ""
        raise ValueError(f"{place}: its fields are separated by {name}{commas}; {REMEDY}{point}")
