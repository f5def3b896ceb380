"""YAML and JSON of users: what is read, and what is refused before it is built."""

import math

import pytest

from nas.system.schema.plain_data import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_WEIGHT,
    dump_plain,
    parse_plain,
    read_plain,
)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 5e-4", {"a": 5e-4}),  # as Hydra reads numbers
        ("a: 9.83e9", {"a": 9.83e9}),
        ("a: '1e3'", {"a": "1e3"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: [on, ~, 0x1f, 1_000]", {"a": [True, None, 31, 1000]}),
        ("b: &b {x: 1}\nc: {<<: *b, y: 2}", {"b": {"x": 1}, "c": {"x": 1, "y": 2}}),
        ('{"a": [1, 2.5, null, "\\u00e9"]}', {"a": [1, 2.5, None, "é"]}),
        ('{\t"a":\t1}', {"a": 1}),
        ("{a: 1}", {"a": 1}),
        ("", None),
    ],
)
def test_parse_reads_yaml_and_json(text, data):
    assert parse_plain(text) == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, f"nested more than {MAX_DEPTH} deep"),
        ("{'a':" * 1000, f"nested more than {MAX_DEPTH} deep"),
        ("- " * 3000 + "a", f"nested more than {MAX_DEPTH} deep"),
        ("a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 99)), "deep"),
        ("- a\n" * 50_000, f"more than {MAX_WEIGHT} values"),
        ("[" + "1," * 50_000 + "1]", f"more than {MAX_WEIGHT} values"),
        ("a: &a " + "x" * 200_000 + "\nb: [" + "*a," * 50 + "]", f"more than {MAX_WEIGHT} values"),
        ("a: &a [*a]", "the alias .a stands before or within what it names"),
        ("a: *b", "the alias .b stands before"),
        ("a: 1\na: 2", "the key 'a' stands there twice in line 2"),
        ('{"a": 1, "a": 2}', "names the key 'a' twice"),
        ("true: 1", "a key must be text, got true; quote it in line 1, column 1"),
        ("? [a]\n: 1", "a key must be text"),
        ("a: !!python/name:os.system", "the tag .* is not read"),
        ("a: !!binary aGk=", "the tag .* is not read"),
        ("a: " + "9" * 5000, "no such number"),
        ("a: 0x" + "f" * 5000, "no such number"),
        ('{"a": ' + "9" * 5000 + "}", "holds a number of more than 1000 digits"),
        ('{"a": ["\\ud800"]}', "holds half a character"),
        ('{"\\ud800": 1}', "holds half a character"),
        ("a: [1", "is no YAML or JSON: .* in line"),
        ("a\0b", "is no YAML or JSON"),
        ("a: b\n--- c", "is no YAML or JSON"),
    ],
)
def test_parse_refuses_what_it_should_not_build(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_plain(text)
    assert "\n" not in str(error.value)


def test_bound_on_depth_is_the_same_for_yaml_json_and_aliases():
    def nested(depth):
        return "[" * depth + "1" + "]" * depth

    assert parse_plain("a: " + nested(MAX_DEPTH - 1)) == {"a": parse_plain(nested(MAX_DEPTH - 1))}
    assert parse_plain(nested(MAX_DEPTH))
    assert parse_plain(f"x: &x {nested(30)}\ny: {'[' * 9}*x{']' * 9}")["y"]
    aliases = f"x: &x {nested(30)}\ny: {'[' * 10}*x{']' * 10}"
    for text in (nested(MAX_DEPTH + 1), "a: " + nested(MAX_DEPTH), aliases):
        with pytest.raises(ValueError, match="deep"):
            parse_plain(text)


def test_read_refuses_a_file_that_is_too_large_or_no_text(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a" * (MAX_BYTES + 1))
    with pytest.raises(ValueError, match="holds more than 256 KiB"):
        read_plain(path)
    path.write_bytes("a: é".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8 at byte 3"):
        read_plain(path)
    path.write_bytes("\ufeffa: 1".encode())
    assert read_plain(path) == {"a": 1}


def test_dump_reads_back_equal():
    texts = [
        "1e3",
        "yes",
        "2024-01-01",
        "1:30",
        "=",
        "<<",
        "",
        "null",
        "0x1",
        ".5",
        "a\nb",
        "é\x85",
        "a\u2028b",
        "08",
        "~",
        "#",
        "a: b",
    ]
    data = {
        "texts": texts,
        "numbers": [1e-5, 1e16, 1e300, -0.0, 3, 10**18],
        "none": None,
        "true": True,
        **{t: t for t in texts},
    }
    found = parse_plain(dump_plain(data))
    assert found == data
    assert math.copysign(1, found["numbers"][3]) == -1
