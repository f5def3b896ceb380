"""Files of records: every damage is found, a torn tail is cut, an append is all or nothing."""

import contextlib
import errno
import json
import os
import random
import resource
import zlib

import pytest

from nas.system.files.drafts import UnwritableError
from nas.system.files.record_file import (
    DamagedFileError,
    RecordWriter,
    frame,
    read_records,
    read_undamaged,
    recover,
    scan,
)

RECORDS = [{"place": place, "text": "x" * (place % 7), "value": place / 3} for place in range(40)]


@pytest.fixture
def path(tmp_path):
    """A file of forty records."""
    writer = RecordWriter(tmp_path / "file.log", config="abc")
    writer.append(RECORDS[:1])
    writer.append(RECORDS[1:])
    return tmp_path / "file.log"


def test_what_was_appended_is_read_back_and_the_first_says_format_and_settings(path):
    first, *others = read_records(path)
    assert first == {"format": 1, "config": "abc", **RECORDS[0]}
    assert others == RECORDS[1:]


def test_a_line_is_json_whose_checksum_anybody_can_check(path):
    for number, line in enumerate(path.read_bytes().splitlines()):
        record = json.loads(line)
        assert record["record"] == number
        assert int(record["crc"], 16) == zlib.crc32(line.rpartition(b',"crc"')[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_changed_byte_anywhere_is_found(path, seed):
    """A hundred places a seed: a digit is another one, or any byte is."""
    draw, data = random.Random(seed), path.read_bytes()
    for _ in range(100):
        place = draw.randrange(len(data))
        others = b"0123456789" if data[place : place + 1].isdigit() else bytes(range(256))
        changed = draw.choice([byte for byte in others if byte != data[place]])
        path.write_bytes(data[:place] + bytes([changed]) + data[place + 1 :])
        found = scan(path.read_bytes())
        assert found.tail, place
        with pytest.raises((DamagedFileError, ValueError)):
            read_records(path)


@pytest.mark.parametrize("lost", [0, 7, 38])
def test_a_missing_record_is_damage(path, lost):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:lost] + lines[lost + 1 :]))
    with pytest.raises(DamagedFileError, match=rf"record {lost} is damaged, and {38 - lost or ''}"):
        read_records(path)


def test_a_record_that_stands_twice_is_damage(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:9], lines[8], *lines[9:]]))
    with pytest.raises(DamagedFileError, match="record 9 is damaged, and 31 good ones follow it"):
        recover(path)


@pytest.mark.parametrize("garbage", [b"", b"\0" * 99, b"\0" * 99 + b"\n", b"\x80{\nrubbish\n"])
def test_a_torn_tail_is_cut_with_what_follows_it(path, garbage):
    data = path.read_bytes()
    torn = data[: -len(data.splitlines()[-1]) // 2 - 1]
    whole = torn[: torn.rfind(b"\n") + 1]
    path.write_bytes(torn + garbage)
    notice = recover(path)
    assert path.read_bytes() == whole
    (kept,) = path.parent.glob("file.log.cut-*")
    assert kept.read_bytes() == torn[len(whole) :] + garbage
    assert kept.name in notice
    assert recover(path) == ""


def test_half_a_line_is_an_append_that_is_not_done(path):
    with path.open("ab") as file:
        file.write(frame({"place": 40}, 40)[:-3])
    assert len(read_records(path)) == 40


def test_what_comes_before_the_damage_is_read_where_it_is_asked_for(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:12], b"x" + lines[12], *lines[13:]]))
    before = path.read_bytes()
    assert read_undamaged(path)[1:] == RECORDS[1:12]
    with pytest.raises(DamagedFileError):
        recover(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ['{"op_code":0,"worker_id":"a"}\n', "[1]\n{}\n"])
def test_a_file_of_another_version_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "old.log"
    path.write_text(text)
    for read in (read_records, recover, read_undamaged):
        with pytest.raises(
            ValueError, match=r"old\.log: (it was written by another version|record 0)"
        ):
            read(path)
    assert path.read_text() == text


def test_a_later_format_is_refused(tmp_path):
    path = tmp_path / "new.log"
    path.write_bytes(frame({"format": 2, "config": ""}, 0))
    with pytest.raises(ValueError, match="its format is 2, and this version reads 1"):
        recover(path)


@pytest.mark.parametrize("num_written", [0, 5])
def test_an_append_that_fails_leaves_nothing(path, monkeypatch, num_written):
    """As on a full disk, where one write may put down a part of what it was given."""
    before, write = path.read_bytes(), os.write
    writer = RecordWriter(path, config="abc")
    left = [num_written]

    def fill_up(descriptor, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = write(descriptor, data[: left[0]])
        left[0] -= count
        return count

    monkeypatch.setattr(os, "write", fill_up)
    with pytest.raises(OSError, match="No space left"):
        writer.append([{"place": 40}])
    assert path.read_bytes() == before
    monkeypatch.undo()
    writer.append([{"place": 40}])
    assert len(read_records(path)) == 41


def test_an_append_that_cannot_be_taken_back_tells_its_own_error_and_is_cut_later(
    path, monkeypatch
):
    """By the next append, or by the next session."""
    before, write = path.read_bytes(), os.write

    def write_half(descriptor, data):
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    writer = RecordWriter(path, config="abc")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_half)
        patch.setattr(os, "truncate", refuse)
        with pytest.raises(OSError, match="No space left on device"):
            writer.append([{"place": 40}])
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="Input/output error"):
            writer.append([{"place": 40}])
    torn = path.read_bytes()
    assert torn.startswith(before)
    assert torn != before
    writer.append([{"place": 40}])
    assert read_records(path)[40:] == [{"place": 40}]

    path.write_bytes(torn)
    assert recover(path)
    assert path.read_bytes() == before


@pytest.fixture
def full_disk():
    """The system refuses to write into any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextlib.contextmanager
    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return fill


def test_a_tail_that_cannot_be_kept_is_not_cut_and_the_file_is_named(path, full_disk):
    with path.open("ab") as file:
        file.write(b'{"torn":')
    before = path.read_bytes()
    with full_disk(), pytest.raises(UnwritableError) as told:
        recover(path)
    assert told.value.errno == errno.EFBIG
    assert told.value.filename.startswith(f"{path}.cut-")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_tails_of_one_second_are_all_kept(path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20261130-120000")
    for count in (1, 2, 3):
        with path.open("ab") as file:
            file.write(b"x" * count)
        assert recover(path)
    assert sorted(len(kept.read_bytes()) for kept in path.parent.glob("*.cut-*")) == [1, 2, 3]


def test_a_write_in_parts_is_one_append(path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    RecordWriter(path, config="abc").append([{"place": 40}, {"place": 41}])
    assert read_records(path)[40:] == [{"place": 40}, {"place": 41}]


def test_not_a_number_is_not_written(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        RecordWriter(path, config="abc").append([{"value": float("nan")}])
    assert path.read_bytes() == before
