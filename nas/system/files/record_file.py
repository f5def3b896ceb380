"""Files of records, one a line, that grow by appends and in which every damage is found.

A line is JSON that ends with the record's number and the CRC-32 of all before it:
`{"op_code":6,"value":26.1,"record":12,"crc":"5a3f0c1d"}`. The first record says `format`, and
`config`: the hash of the settings that all records were made under. Other readers of JSON lines
(Optuna's, of a journal) find keys that they do not know.

One scan serves writers and readers. A torn tail is what a kill or a power cut leaves of the last
append; it is no record yet. Damage before a good record is no torn tail: nobody reads past it.
"""

import contextlib
import itertools
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.system.files.drafts import UnwritableError

FORMAT = 1
NUMBER = "record"  # key of a record's number
HEADER = ("format", "config")  # keys of the first one
_MARK = b',"crc":"'
_END = b'"}'
_LENGTH = len(_MARK) + 8 + len(_END)  # bytes of the checksum with its key


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a file of records holds.

    Attributes:
        lines: the whole records before any damage, in their order, without the newline.
        tail: what follows them; empty where the file ends with a whole record.
        is_damaged: whether good records follow the tail, so that it is no torn one.
        num_after: how many do.
    """

    lines: Sequence[bytes]
    tail: bytes
    num_after: int = 0

    @property
    def is_damaged(self) -> bool:
        return self.num_after > 0

    @property
    def num_bytes(self) -> int:
        """Bytes of the whole records."""
        return sum(map(len, self.lines)) + len(self.lines)


class DamagedFileError(ValueError):
    """A file does not hold all that was written into it."""


def frame(record: Mapping[str, Any], number: int) -> bytes:
    """Return the line of a record, with its newline.

    Example:
        >>> frame({"op_code": 1}, 3)
        b'{"op_code":1,"record":3,"crc":"b76cf321"}\\n'
    """
    body = json.dumps({**record, NUMBER: number}, separators=(",", ":"), allow_nan=False)
    head = body[:-1].encode()
    return b"%b%b%08x%b\n" % (head, _MARK, zlib.crc32(head), _END)


def scan(data: bytes) -> Scan:
    """Find the whole records of a file's bytes, and what follows them."""
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.split(b"\n")[:-1]

    # Numbers count up from 0: a record that is missing or stands twice is damage too.
    count = 0
    while count < len(lines) and _is_record(lines[count], count):
        count += 1
    after = sum(_is_record(line) for line in lines[count + 1 :])
    start = sum(map(len, lines[:count])) + count
    return Scan(lines=lines[:count], tail=data[start:], num_after=after)


def read_records(path: Path, *, cuts_tail: bool = False) -> list[dict[str, Any]]:
    """Read the records of a file that somebody may be appending to.

    Half a line at the end is an append that is not done yet, and left out.

    Args:
        cuts_tail: leave out whatever follows the last good record; for who calls `recover` next.
    Raises:
        DamagedFileError: a record is damaged.
        ValueError: another version wrote the file, or a record is none that a writer makes.
    """
    found = scan(path.read_bytes())
    records = _parse_records(path, found)
    if found.is_damaged or (b"\n" in found.tail and not cuts_tail):
        raise DamagedFileError(_describe_damage(path, found))
    return records


def strip_header(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without what the first one of each file begins with."""
    return {key: value for key, value in record.items() if key not in HEADER}


def read_header(path: Path) -> dict[str, Any]:
    """Read the first record of a file that was recovered; empty where it holds none."""
    with path.open("rb") as file:
        line = file.readline()
    return _parse_line(path, 0, line) if line else {}


def read_undamaged(path: Path) -> list[dict[str, Any]]:
    """Read the records before any damage; ValueError where another version wrote the file."""
    return _parse_records(path, scan(path.read_bytes()))


def recover(path: Path) -> str:
    """Cut a torn tail off and keep it beside the file; return a line on it, empty where none was.

    Raises:
        DamagedFileError: a record before the last is damaged.
        ValueError: another version wrote the file.
        UnwritableError: the tail cannot be kept, so it is not cut, or cannot be cut.
    """
    found = scan(path.read_bytes())
    if found.is_damaged:
        raise DamagedFileError(_describe_damage(path, found))
    _check_version(path, found)
    if not found.tail:
        return ""

    # The copy is on the disk before the file is cut.
    kept = _keep_tail(path, found.tail)
    with _naming(path), path.open("r+b") as file:
        file.truncate(found.num_bytes)
        os.fsync(file.fileno())
    return (
        f"{path}: the last record was cut off; its {len(found.tail)} bytes are kept in {kept.name}"
    )


def _keep_tail(path: Path, tail: bytes) -> Path:
    """Write the tail of a file into a new one beside it, and return that.

    Raises:
        UnwritableError: it cannot be written; nothing of it stays.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for count in itertools.count(1):
        end = f"{stamp}-{count}" if count > 1 else stamp
        kept = path.with_name(f"{path.name}.cut-{end}")
        if not kept.exists():  # of the same second
            break
    try:
        with _naming(kept), kept.open("xb", buffering=0) as file:
            _write_all(file.fileno(), tail)
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            kept.unlink()
        raise
    return kept


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name a file in the error of what cannot be written into it."""
    try:
        yield
    except OSError as error:
        raise UnwritableError(error.errno, error.strerror, str(path)) from error


class RecordWriter:
    """Appends records to a file; what an append has returned from outlives the process.

    Args:
        path: of a file that was recovered, or is not there yet.
        config: hash of the settings that the records are made under.
    Raises:
        ValueError: another version wrote the file.
    """

    def __init__(self, path: Path, config: str) -> None:
        self.path = path
        self._config = config
        found = scan(path.read_bytes()) if path.exists() else scan(b"")
        assert not found.tail, f"{path} was not recovered"
        self._earlier = _parse_records(path, found)
        self._num_records = len(found.lines)
        self._num_bytes = found.num_bytes
        self._is_torn = False  # half an append may follow the records

    def take_earlier(self) -> list[dict[str, Any]]:
        """Return the records that the file held at the start, once: they are not kept in memory."""
        earlier, self._earlier = self._earlier, []
        return earlier

    def append(self, records: Sequence[Mapping[str, Any]], *, wait: bool = True) -> list[bytes]:
        """Append records in one write; return their lines.

        Args:
            wait: for the disk, so that they outlive a power cut too.
        Raises:
            UnwritableError: such as a full disk. Nothing of the records stays in the file; where
                even that is refused, the next append or `recover` cuts it off.
        """
        lines = []
        for number, record in enumerate(records, start=self._num_records):
            header = {HEADER[0]: FORMAT, HEADER[1]: self._config} if number == 0 else {}
            lines.append(frame({**header, **record}, number))
        data = b"".join(lines)

        try:
            with _naming(self.path):
                self._cut_torn()
                self._is_torn = True
                # Unbuffered: an error leaves nothing that would be written when the file is closed.
                with self.path.open("ab", buffering=0) as file:
                    _write_all(file.fileno(), data)
                    if wait:
                        os.fsync(file.fileno())
        except UnwritableError:
            with contextlib.suppress(OSError):  # the first error is the one to be told
                self._cut_torn()
            raise
        self._is_torn = False
        self._num_records += len(lines)
        self._num_bytes += len(data)
        return lines

    def _cut_torn(self) -> None:
        """Cut off what an append has left that failed."""
        if self._is_torn and self.path.exists():
            os.truncate(self.path, self._num_bytes)
        self._is_torn = False


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of the bytes: one call may write fewer."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _parse_records(path: Path, found: Scan) -> list[dict[str, Any]]:
    """Return the records of a scan.

    Raises:
        ValueError: another version wrote the file.
    """
    _check_version(path, found)
    records = [_parse_line(path, number, line) for number, line in enumerate(found.lines)]
    for record in records:
        del record[NUMBER], record["crc"]  # they were checked
    return records


def _parse_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Return the content of a record whose checksum is right.

    Raises:
        ValueError: it is none that a writer makes; a stranger may put a checksum on anything.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not {NUMBER, "crc"} <= record.keys():
        raise ValueError(f"{path}, record {number}: expected a mapping, got other JSON or none")
    return record


def _describe_damage(path: Path, found: Scan) -> str:
    """Say which record is damaged, and the way out."""
    if found.num_after:
        way_out = f"and {found.num_after} good ones follow it; restore the file from a copy"
    else:
        way_out = "and none follows it; go on with the run, which cuts it off, or restore it"
    return f"{path}: record {len(found.lines)} is damaged, {way_out}"


def _check_version(path: Path, found: Scan) -> None:
    """Raise ValueError where another version wrote a file; its first line says so."""
    if not found.lines and _is_foreign(found.tail):
        raise ValueError(
            f"{path}: it was written by another version, or by something else: its first line "
            "is no record of this one"
        )
    version = _parse_line(path, 0, found.lines[0]).get(HEADER[0]) if found.lines else FORMAT
    if version != FORMAT:
        shown = str(version)[:20]
        raise ValueError(f"{path}: its format is {shown}, and this version reads {FORMAT}")


def _is_record(line: bytes, number: int | None = None) -> bool:
    """Whether a line is a whole record, with a number where one is given."""
    head, mark, crc = line[:-_LENGTH], line[-_LENGTH : -len(_END) - 8], line[-len(_END) - 8 :]
    if mark != _MARK or crc != b"%08x%b" % (zlib.crc32(head), _END):
        return False
    return number is None or head.endswith(b'"record":%d' % number)


def _is_foreign(tail: bytes) -> bool:
    """Whether lines without a record begin as JSON of somebody else's."""
    first, newline, _ = tail.partition(b"\n")
    if not newline or _MARK in first:
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True
