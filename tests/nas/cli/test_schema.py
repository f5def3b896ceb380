import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from nas.cli import schema, targets
from nas.cli.invocation import UsageError


class Shape(Protocol):
    def area(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Square:
    side: float

    def __post_init__(self):
        if self.side <= 0:
            raise ValueError(f"side must be above 0, got {self.side}")

    def area(self) -> float:
        return self.side**2


@dataclass(frozen=True, kw_only=True)
class Drawing:
    shape: Square | None
    size: tuple[int, int] = (1, 1)
    colour: Literal["red", "blue"] = "red"


HERE = sys.modules[__name__].__name__
SQUARE = {"_target_": f"{HERE}.Square", "side": 2}


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    """Let the classes of this file be named."""
    names = {f"{HERE}.{name}" for name in ("Square", "Drawing", "Frame", "HERE")}
    monkeypatch.setattr(targets, "CLASSES", frozenset(names | {"no.such"}))


def conform(value, hint, typed=None):
    return schema.conform(value, hint, "key", typed or {})


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, 3),
        (1e3, int, 1000),
        (3, float, 3.0),
        (0.5, float, 0.5),
        (True, bool, True),
        ("a", str, "a"),
        ("a", Path, Path("a")),
        (None, int | None, None),
        (3, int | None, 3),
        (3, float | None, 3.0),
        (3, int | float, 3),
        ("auto", int | Literal["auto"], "auto"),
        ([1, 2], list[int], [1, 2]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, "a"], tuple[int, str], (1, "a")),
        ([], tuple[int, ...], ()),
        ([[1, 2], [3, 4]], tuple[tuple[int, int], ...], ((1, 2), (3, 4))),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"a": [1]}, Any, {"a": [1]}),
        ("blue", Literal["red", "blue"], "blue"),
    ],
)
def test_conform_gives_the_annotated_type(value, hint, expected):
    result = conform(value, hint)
    assert result == expected
    assert type(result) is type(expected)
    assert repr(result) == repr(expected)  # 3.0 is not 3, also inside


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("abc", int, 'key: expected a whole number, got "abc"'),
        (1.5, int, "key: expected a whole number, got 1.5"),
        (True, int, "key: expected a whole number, got true"),
        (1, bool, "key: expected true or false, got 1"),
        (False, float, "key: expected a number, got false"),
        (float("nan"), float, "key: nan is not a value"),
        (None, str, "key: expected text, got null"),
        ("x", int | None, 'key: expected a whole number or null, got "x"'),
        ("x", list[int], 'key: expected a list like [a,b] of a whole number, got "x"'),
        ([1, "x"], list[int], 'key[1]: expected a whole number, got "x"'),
        ([1, 2, 3], tuple[int, int], "key: expected 2 items, got 3: [1, 2, 3]"),
        ({"a": "x"}, dict[str, int], 'key.a: expected a whole number, got "x"'),
        ({"a": 1}, int, 'key: expected a whole number, got {"a": 1}'),
        (
            "blu",
            Literal["red", "blue"],
            'key: expected one of red, blue, got "blu"; did you mean blue?',
        ),
        ("x", int | Literal["auto"], 'key: expected a whole number or one of auto, got "x"'),
        (5, Square, "key: expected a Square with the keys side, got 5"),
        ("x", Shape, 'key: expected a Shape, got "x"'),
        ("???", int, "key has to be given: key=VALUE, a whole number"),
        ({**SQUARE, "side": "x"}, Square, 'key.side: expected a number, got "x"'),
        (
            {**SQUARE, "sid": 1},
            Shape,
            "unknown key 'key.sid': Square takes side; did you mean side?",
        ),
        (
            {"_target_": f"{HERE}.Square"},
            Square,
            "key.side has to be given: key.side=VALUE, a number",
        ),
        (
            {**SQUARE},
            Drawing,
            "key: expected a Drawing with the keys shape, size, colour, got a Square",
        ),
        ({**SQUARE}, Drawing | None, "got a Square"),
        (
            {"a": {**SQUARE, "side": "x"}},
            dict[str, Shape],
            'key.a.side: expected a number, got "x"',
        ),
        ({"_target_": "no.such"}, Square, "key._target_: cannot import 'no.such'"),
        ({"_target_": f"{HERE}.HERE"}, Square, "is no class"),
        ({"_target_": "os.system", "command": "x"}, Square, "key._target_: 'os.system' is not run"),
        (
            {"_target_": ["os.system"]},
            Square,
            "key._target_ must be the name of a class, got ['os.system']",
        ),
        ({"_target_": 5}, Square | None, "key._target_ must be the name of a class, got 5"),
        (SQUARE, Any, "key._target_ is not read: expected anything in key"),
        (SQUARE, float, "key._target_ is not read: expected a number in key"),
        (SQUARE, str | None, "key._target_ is not read"),
        ([SQUARE], list[str], "key[0]._target_ is not read"),
        ([SQUARE], Any, "key[0]._target_ is not read"),
        ({"a": [{"b": SQUARE}]}, dict[str, Any], "key.a[0].b._target_ is not read"),
        ({**SQUARE}, dict[str, Any], "key._target_ is not read"),
        ({**SQUARE, "_partial_": True}, Shape, "key._partial_ is not read"),
        ({"_args_": [1]}, Square, "key._args_ is not read"),
        ({**SQUARE, "_recursive_": False}, Square, "key._recursive_ is not read"),
        ({"_target_": f"{HERE}.Drawing", "shape": None}, Shape, "expected a Shape, got a Drawing"),
        (float("inf"), float | None, "key: inf is not a value"),
        (int("9" * 400), float, "key: a number of 1329 bits is too large"),
        (10**4000, int, "key: a number of 13288 bits is too large"),
        (1e300, int, "too large"),
        (["x" * 5000], int, "key: expected a whole number, got"),
    ],
)
def test_conform_names_the_key_and_what_is_allowed(value, hint, message):
    with pytest.raises(UsageError) as error:
        conform(value, hint)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 300


def test_a_number_typed_for_text_stays_as_it_was_typed():
    assert conform(1000.0, str, {"key": "1e3"}) == "1e3"
    assert conform(2, Literal["2", "3"], {"key": "2"}) == "2"
    with pytest.raises(UsageError, match="expected text, got 7"):
        conform(7, str)


def test_check_and_build_make_nested_objects():
    node = {"_target_": f"{HERE}.Drawing", "shape": SQUARE, "size": [3, 4], "colour": "blue"}
    checked = schema.conform(node, Drawing, "drawing", {})
    assert schema.build(checked) == Drawing(shape=Square(side=2.0), size=(3, 4), colour="blue")
    assert schema.plain(checked) == {**node, "shape": {**SQUARE, "side": 2.0}}


def test_build_names_the_node_whose_constructor_refused():
    checked = schema.conform({"a": {**SQUARE, "side": -1}}, dict[str, Shape], "shapes", {})
    with pytest.raises(ValueError, match="side must be above 0") as error:
        schema.build(checked, "shapes")
    assert error.value.__notes__ == ["shapes.a"]


def test_build_calls_no_mapping_that_was_not_checked():
    assert schema.build({"a": [SQUARE]}) == {"a": [{"side": 2}]}


def test_check_takes_the_parameters_of_a_function():
    def run(*, trials: int, invocation: object) -> None: ...

    assert schema.check(run, {"trials": 3}, given=("invocation",)) == {"trials": 3}
    with pytest.raises(
        UsageError, match=r"unknown key 'trial': run takes trials; did you mean trials\?"
    ):
        schema.check(run, {"trial": 3}, given=("invocation",))
    with pytest.raises(UsageError, match="trials has to be given"):
        schema.check(run, {}, given=("invocation",))


@dataclass(frozen=True, kw_only=True)
class Frame:
    shape: Square
    shapes: dict[str, Square]


def test_mapping_of_the_one_dataclass_that_fits_needs_no_target(monkeypatch):
    """Its class is the annotation's: it is built also where no file may name it."""
    monkeypatch.setattr(targets, "CLASSES", frozenset({f"{HERE}.Frame"}))
    node = {"_target_": f"{HERE}.Frame", "shape": {"side": 2}, "shapes": {"a": {"side": 3}}}
    checked = schema.conform(node, Frame, "frame", {})
    assert schema.build(checked) == Frame(shape=Square(side=2.0), shapes={"a": Square(side=3.0)})
    assert schema.plain(checked) == node
    with pytest.raises(UsageError, match=r"unknown key 'frame\.shapes\.a\.sides': Square takes"):
        schema.conform({**node, "shapes": {"a": {"sides": 3}}}, Frame, "frame", {})
