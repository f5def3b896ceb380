"""The table of timed tilings: read, refused by name, and what stands in for a case that it lacks."""

import json
from dataclasses import replace

import pytest

from nas.ops.conv_act import config as tilings
from nas.ops.conv_act.config import Case, Config, choose, default, fit_image, read_table

CASE = Case(
    in_channels=32,
    channels=32,
    kernel=3,
    item_bytes=2,
    epilogue="relu",
    image=False,
    strict=False,
    separable=False,
    capability=90,
)
MADE_UP = Config(form="loop", height=4, width=32, block_k=16, block_n=32, num_warps=8, num_stages=3)
ENTRY = {
    "gpu": "made up",
    "us": 1.5,
    "case": CASE._asdict(),
    "config": {
        "form": "loop",
        "height": 4,
        "width": 32,
        "block_k": 16,
        "block_n": 32,
        "num_warps": 8,
        "num_stages": 3,
    },
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Put a table of these entries in the place of the shipped one; give its path."""

    def write(*entries):
        path = tmp_path / "tilings.json"
        path.write_text(json.dumps(entries))
        monkeypatch.setattr(tilings, "TABLE", path)
        tilings._shipped.cache_clear()
        return path

    yield write
    tilings._shipped.cache_clear()


def test_a_timed_case_is_tiled_as_the_table_says_and_all_others_by_the_rules(table):
    table(ENTRY)
    assert choose(CASE) == MADE_UP != default(CASE)
    for changed in ({"capability": 86}, {"epilogue": "none"}, {"item_bytes": 4}, {"channels": 28}):
        other = CASE._replace(**changed)
        assert choose(other) == default(other)


@pytest.mark.parametrize(
    ("size", "multiprocessors", "height"),
    [
        (
            (1, 339, 510),
            132,
            4,
        ),  # 680 blocks of 4 rows are two waves of six steps, 1360 of 2 three of four
        ((1, 256, 256), 132, 2),  # a wave of either: the lower one is four steps, not six
        ((1, 64, 64), 132, 2),
        (
            (1, 128, 64),
            1,
            4,
        ),  # 32 blocks are 11 waves of six steps, 64 are 16 of four: no tenth less
        ((2, 339, 510), 132, 4),
        ((1, 1020, 2040), 132, 4),
    ],
)
def test_blocks_are_as_high_as_fills_the_gpu_best(size, multiprocessors, height):
    assert default(CASE).form == "rows"
    assert fit_image(CASE, *size, multiprocessors).height == height
    other = CASE._replace(capability=86)
    assert fit_image(other, *size, multiprocessors) == default(other)


def test_a_timed_tiling_keeps_its_height(table):
    rows = Config(
        form="rows", height=4, width=64, block_k=32, block_n=32, num_warps=4, num_stages=2
    )
    table(changed("config", **{field: getattr(rows, field) for field in ENTRY["config"]}))
    assert fit_image(CASE, 1, 64, 64, 132) == rows


def test_the_shipped_table_can_be_read():
    assert isinstance(read_table(tilings.TABLE), dict)


def changed(part, **values):
    return ENTRY | {part: {**ENTRY[part], **values}}


WRONG = {
    "form": (
        changed("config", form="rings"),
        "form must be one of image, tile, loop, .*, got 'rings'",
    ),
    "height": (changed("config", height=3), "height must be a power of two, got 3"),
    "text": (changed("config", num_warps="4"), "num_warps must be a power of two, got '4'"),
    "stages": (changed("config", num_stages=0), "num_stages must be 1 to 8, got 0"),
    "unknown": (changed("config", depth=3), "config has no depth"),
    "case": (
        changed("case", hopper=True),
        "case must be {in_channels: int, .*capability: int}, got",
    ),
    "type": (changed("case", strict=0), "case must be .*strict: bool"),
    "missing": ({"case": CASE._asdict()}, "'config'"),
    "no entry": (3, "not subscriptable"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_entry_that_is_none_is_named_in_one_line(name, table):
    entry, said = WRONG[name]
    with pytest.raises(
        ValueError, match=rf"^tilings.json: entry 1: .*{said}.*benchmarks/kernels/tune.py$"
    ) as caught:
        read_table(table(changed("case", channels=48), entry))
    assert "\n" not in str(caught.value)


def test_a_table_that_is_none_is_named(table):
    with pytest.raises(ValueError, match="entry 1: its case is there twice"):
        read_table(table(ENTRY, ENTRY))
    path = table()
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"tilings.json must hold a list, got dict"):
        read_table(path)
    path.write_text("[")
    with pytest.raises(ValueError, match=r"tilings.json is no JSON: "):
        read_table(path)


SPILLING = {  # a case of each row of `SPILLS`, and one beside it that keeps the usual tiling
    0: (
        CASE._replace(in_channels=3, channels=48, item_bytes=4, epilogue="conv1x1", image=True),
        {"channels": 32},
    ),
    1: (
        CASE._replace(in_channels=52, channels=52, item_bytes=4, epilogue="conv1x1", capability=80),
        {"capability": 90},
    ),
    2: (CASE._replace(channels=28, item_bytes=4, strict=True, capability=86), {"capability": 90}),
    3: (
        CASE._replace(
            in_channels=28,
            channels=48,
            item_bytes=4,
            epilogue="pixel_shuffle",
            separable=True,
            capability=120,
        ),
        {"in_channels": 80},
    ),
}


def test_each_row_of_the_spills_has_a_case_here():
    assert sorted(SPILLING) == list(range(len(tilings.SPILLS)))


@pytest.mark.parametrize("row", SPILLING)
def test_a_case_that_spills_is_tiled_as_its_row_says_and_the_one_beside_it_as_usual(row):
    case, beside = SPILLING[row]
    usual, instead = tilings._tile_usually(case), tilings.SPILLS[row].instead
    assert default(case) == replace(usual, **instead) != usual
    other = case._replace(**beside)
    assert default(other) == tilings._tile_usually(other)
