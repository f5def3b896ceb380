# ruff: noqa: E501 - long lists of cases
"""Seeded changes to stored files: to their bytes, and to the data that they hold."""

import copy
import json
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

# What no writer of ours puts in a value's place.
NASTY: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, -1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"), "", "x", "0", "1", "nan", "x" * 5000, "\x1b[2J", "[/y]", "a\nb", "\ud800", "字",
    "../../etc/passwd", "${scale}", "28x6", "0x0", "99999x99999", "complete", [], {}, [[]], [1, 2], [None], ["x"],
    {"a": 1}, {"": {}}, [0] * 3000, {"kind": "conv"}, "{}", "[]", "null", '{"a":' * 2000,
)  # fmt: skip


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Return bytes of which some are flipped, gone, new, doubled, swapped or cut off."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if not found:
            break
        place, length = rng.randrange(len(found)), rng.choice([1, 1, 1, 4, 64, 700])
        piece = bytes(found[place : place + length])
        kind = rng.choice(["flip", "digit", "delete", "insert", "cut", "double", "swap", "zero"])
        if kind == "flip":
            found[place] ^= 1 << rng.randrange(8)
        elif kind == "digit":
            _change_digit(rng, found)
        elif kind == "delete":
            del found[place : place + length]
        elif kind == "insert":
            found[place:place] = rng.randbytes(length)
        elif kind == "cut":
            del found[place:]
        elif kind == "double":
            found[place:place] = piece
        elif kind == "swap":
            other = rng.randrange(len(found))
            found[place : place + len(piece)] = found[other : other + length]
            found[other : other + len(piece)] = piece
        else:
            found[place : place + length] = bytes(len(piece))
    return bytes(found)


def _change_digit(rng: random.Random, data: bytearray) -> None:
    digits = [place for place, byte in enumerate(data) if byte in b"0123456789"]
    if digits:
        place = rng.choice(digits)
        data[place] = rng.choice([digit for digit in b"0123456789" if digit != data[place]])


def change_data(rng: random.Random, data: Any) -> Any:
    """Return plain data in which one to three places hold something else."""
    found = copy.deepcopy(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = list(list_places(found))
        if not places:
            return rng.choice(NASTY)
        holder, key = rng.choice(places)
        _change_place(rng, holder, key, [holder[key] for holder, key in places])
    return found


def _change_place(rng: random.Random, holder: Any, key: Any, values: list[Any]) -> None:
    """Put something else in one place, take it out, or put something beside it."""
    value = holder[key]
    kind = rng.choice(["nasty", "nasty", "nasty", "drop", "add", "type", "deepen", "other", "near"])
    if kind == "drop":
        del holder[key]
    elif kind == "add" and isinstance(holder, dict):
        holder[rng.choice(["x", "", "_target_", "number", "kind", "\x1b", "y" * 500])] = rng.choice(
            NASTY
        )
    elif kind == "type":
        holder[key] = _change_type(value)
    elif kind == "deepen":
        for _ in range(rng.choice([1, 2, 50, 120])):
            value = [value] if rng.random() < 0.5 else {"x": value}
        holder[key] = value
    elif kind == "other":
        holder[key] = copy.deepcopy(rng.choice(values))
    elif kind == "near" and type(value) in (int, float):
        third = value / 3 if abs(value) < 2**60 else value // 3  # no float holds a longer one
        holder[key] = rng.choice([-value, value + 1, value * 1000, third])
    else:
        holder[key] = copy.deepcopy(rng.choice(NASTY))


def _change_type(value: Any) -> Any:
    """Return a value of another type that looks like it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return float(value) if abs(value) < 2**60 else str(value)
    if isinstance(value, float | type(None)):
        return str(value)
    if isinstance(value, str):
        return [value]
    return str(value)[:200] if isinstance(value, dict) else {str(i): x for i, x in enumerate(value)}


def list_places(data: Any, depth: int = 40) -> Iterator[tuple[Any, Any]]:
    """Yield every place in nested data: its holder, and its key or index there."""
    keys = (
        list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    )
    for key in keys if depth else ():
        yield data, key
        yield from list_places(data[key], depth - 1)


def unpack_texts(data: Any) -> Any:
    """Return data in which texts that hold JSON objects are replaced by what they hold, marked."""
    if isinstance(data, dict):
        return {key: unpack_texts(value) for key, value in data.items()}
    if isinstance(data, list):
        return [unpack_texts(value) for value in data]
    if isinstance(data, str) and data.startswith("{"):
        return _Packed(json.loads(data))
    return data


class _Packed(dict[str, Any]):
    """A mapping that stands in its file as a text of JSON."""


def pack_texts(data: Any) -> Any:
    """Return the inverse of `unpack_texts`."""
    if isinstance(data, _Packed):
        return json.dumps({key: pack_texts(value) for key, value in data.items()})
    if isinstance(data, dict):
        return {key: pack_texts(value) for key, value in data.items()}
    return [pack_texts(value) for value in data] if isinstance(data, list) else data


Frame = Callable[[dict[str, Any], int], bytes]


def change_record(rng: random.Random, data: bytes) -> bytes:
    """Return a file of records with one changed, and all checksums right."""
    lines = data.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    record = unpack_texts(json.loads(lines[place]))
    number, _ = record.pop("record"), record.pop("crc")
    changed = change_data(rng, record)
    kind = rng.random()
    if kind < 0.02:
        lines[place] = _frame_text('{"a":' + "[" * 50_000 + "]" * 50_000 + "}", number)
    elif kind < 0.85:
        lines[place] = frame_unchecked(changed, number)
    elif kind < 0.93:  # one record less, or one twice: numbered anew
        lines[place : place + 1] = rng.choice([[], [lines[place]] * 2])
    else:
        other = rng.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    return b"".join(_renumber(line, number) for number, line in enumerate(lines))


def frame_unchecked(record: Any, number: int) -> bytes:
    """Return the line of any record, also of one that no writer would write."""
    return _frame_text(json.dumps(pack_texts(record), separators=(",", ":")), number)


def _frame_text(text: str, number: int) -> bytes:
    inner = text[:-1] if text.endswith("}") else text
    comma = "" if inner == "{" else ","
    head = f'{inner}{comma}"record":{number}'.encode()
    return b'%b,"crc":"%08x"}\n' % (head, zlib.crc32(head))


def _renumber(line: bytes, number: int) -> bytes:
    head = line.rpartition(b',"crc":"')[0]
    head = head.rpartition(b'"record":')[0] + b'"record":%d' % number
    return b'%b,"crc":"%08x"}\n' % (head, zlib.crc32(head))
