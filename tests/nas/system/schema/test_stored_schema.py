# ruff: noqa: E501 - one case a line
"""Plain data against annotations: what fits is an object, what does not is one line with its field."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from nas.system.schema.schema_rules import LARGEST, Count, Decibels, Matches, OneOf, Within
from nas.system.schema.stored_schema import Fields, SchemaError, conform, parse_as, read_as


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    steps: Count
    psnr_db: Decibels


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    state: Literal["done", "open"]
    inner: Inner | None = None
    curve: tuple[tuple[Count, float], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state == "done" and self.inner is None:
            raise ValueError("a done one has an inner")


class Loose(TypedDict):
    op: Literal[1]
    size: NotRequired[Annotated[str, Matches(r"\d+x\d+", "a size")]]


GOOD = {"name": "x", "state": "open", "inner": {"steps": 3, "psnr_db": 25}, "curve": [[1, 2.0]]}


def test_what_fits_is_read_with_defaults_for_what_earlier_versions_lack():
    found = read_as(Outer, GOOD)
    assert found == Outer(
        name="x", state="open", inner=Inner(steps=3, psnr_db=25), curve=((1, 2.0),)
    )
    assert conform({"op": 1}, Loose) == {"op": 1}
    assert conform({"a": [1, None, "x"]}, dict[str, Any]) == {"a": [1, None, "x"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "f.log, record 7, name: expected text, got 3"),
        ({"name": "\ud800"}, r'f.log, record 7, name: expected text that UTF-8 holds, got "\ud800"'),
        ({"state": "away"}, 'f.log, record 7, state: expected done or open, got "away"'),
        ({"state": "done", "inner": None}, "f.log, record 7: a done one has an inner"),
        ({"inner": {"steps": 3}}, "f.log, record 7, inner.psnr_db: expected it, got nothing"),
        ({"inner": {"steps": True, "psnr_db": 1}}, "inner.steps: expected a whole number of at least 0, got true"),
        ({"inner": {"steps": -1, "psnr_db": 1}}, "inner.steps: expected a whole number of at least 0, got -1"),
        ({"inner": {"steps": 10**400, "psnr_db": 1}}, "got a number of 1329 bits"),
        ({"inner": {"steps": 1, "psnr_db": math.nan}}, "inner.psnr_db: expected a number of at least -10000 and at most 10000, got nan"),
        ({"inner": {"steps": 1, "psnr_db": "25"}}, 'at most 10000, got "25"'),
        ({"inner": []}, "inner: expected a mapping or null, got a list of 0"),
        ({"curve": [[1, 2.0], [3]]}, "f.log, record 7, curve[1]: expected a list of 2, got a list of 1"),
        ({"curve": [[1, None]]}, "curve[0][1]: expected a number, got null"),
        ({"curve": {}}, "curve: expected a list, got a mapping of 0"),
        ({"seconds": {"a": 1e999}}, "seconds.a: expected a number, got inf"),
        ({"seconds": {"a\x1b": "x"}}, r"seconds.a\x1b: expected a number"),
        ({"more": 1}, 'expected name, state, inner, curve, seconds; got the field "more"'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_field(change, message):
    with pytest.raises(SchemaError) as told:
        read_as(Outer, GOOD | change, "f.log, record 7")
    assert message in str(told.value)


def test_values_are_cut_and_hold_no_control_characters():
    with pytest.raises(SchemaError) as told:
        conform("\x1b[2J" + "x" * 5000, int, "f")
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 130


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (LARGEST + 1, int), (1e301, float), (10**300, float), (True, int), (1, bool), (1.0, int), ("x" * 300_000, str),
        ([0] * 100_001, list[int]), ({str(i): 0 for i in range(100_001)}, dict[str, int]), ({1: 2}, dict[str, int]),
        ("4x", Annotated[str, Matches(r"\d+", "digits")]), ("c", Annotated[str, OneOf(("a", "b"))]),
        ([1], Annotated[tuple[int, ...], Within(2, 3)]), (float("inf"), Any), ({"x": "\udfff"}, Any), ("x", int | None),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused(data, hint):
    with pytest.raises(SchemaError, match=r"expected .+, got "):
        conform(data, hint)


def test_what_no_annotation_describes_is_bounded_in_depth():
    deep: Any = 1
    for _ in range(41):
        deep = [deep]
    with pytest.raises(SchemaError, match="40 lists and mappings in one another"):
        conform(deep, Any)
    assert conform(deep[0], Any) == deep[0]


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "NaN", '{"name": 9' + "9" * 5000, None, 5]
)
def test_text_that_is_no_json_of_the_class_is_refused(text):
    with pytest.raises(SchemaError):
        parse_as(Outer, text, "f")


def test_fields_of_a_mapping_may_be_needed_or_not():
    fields = Fields({"a": int, "b": str}, needed=("a",))
    assert fields.check({"a": 1}) == {"a": 1}
    with pytest.raises(SchemaError, match="f, b: expected text, got 2"):
        fields.check({"a": 1, "b": 2}, "f")
    with pytest.raises(SchemaError, match="f, a: expected it, got nothing"):
        fields.check({}, "f")
