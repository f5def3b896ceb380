"""The sheet of samples."""

import numpy as np
import pytest

from nas.cli.door import main
from nas.data.pixels.images import read_image
from nas.data.roles import open_roles
from nas.data.sheet import COLUMNS, GAP, LINE, TILE, draw_sheet
from tests.nas.data.pictures import config, picture, write, write_pairs


def test_a_row_for_each_source_of_each_role_shows_images_and_their_middle(tmp_path):
    for seed in range(COLUMNS + 4):
        write(tmp_path / "train" / f"{seed:02}.png", picture(seed, 240, 300))
    write_pairs(tmp_path / "val", None, ["a"], first_seed=50)
    roles = open_roles(config(train=tmp_path / "train", val=tmp_path / "val"), scale=4)
    sheet = np.asarray(draw_sheet([roles.need("train"), roles.need("val")]))
    assert sheet.shape == (GAP + 2 * (LINE + 2 * (TILE + GAP)), COLUMNS * (TILE + GAP) + GAP, 3)
    top = GAP + LINE + TILE + GAP
    first, last = (
        read_image(tmp_path / "train/00.png"),
        read_image(tmp_path / f"train/{COLUMNS + 3}.png"),
    )
    for image, left in ((first, GAP), (last, GAP + (COLUMNS - 1) * (TILE + GAP))):
        middle = image[32 : 32 + TILE, 62 : 62 + TILE]
        np.testing.assert_array_equal(sheet[top : top + TILE, left : left + TILE], middle)


def test_the_command_writes_it(tmp_path, capsys):
    write_pairs(tmp_path / "train", None, ["a"])
    out = tmp_path / "samples.png"
    assert main(["data", "data=folder", f"data.train={tmp_path / 'train'}", f"out={out}"]) == 0
    assert f"written: {out}" in capsys.readouterr().out
    assert read_image(out).shape[1] == COLUMNS * (TILE + GAP) + GAP
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.png", "train"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("samples.jpg", "ends in .png"),
        ("gone/samples.png", "there is no folder"),
        (".", "is a folder"),
    ],
)
def test_a_place_where_it_cannot_lie_is_refused(tmp_path, capsys, out, message):
    assert main(["data", f"out={tmp_path / out}"]) == 2
    assert message in capsys.readouterr().err
