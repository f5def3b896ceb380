"""Images whose base has no error are found when data are opened."""

import math

import numpy as np
import pytest
import torch

from nas.cli.door import main
from nas.data.checks.exact_base import refuse_exact_base
from nas.data.pixels.base import bicubic_base
from nas.data.pixels.images import ImageError
from nas.data.roles import open_roles
from nas.data.sets import ImageSet, Pair
from nas.measure.quality import per_image
from tests.nas.data.pictures import config, picture, write, write_pairs


def flat(height, width, level=100):
    return np.full((height, width, 3), level, dtype=np.uint8)


def change(image, y, x):
    changed = image.copy()
    changed[y, x, 1] += 1
    return changed


IMAGES = {
    "flat": flat(64, 80),
    "flat and large": flat(400, 480),
    "black": flat(64, 80, 0),
    "white, cropped": flat(67, 83, 255),
    "one pixel": change(flat(400, 480), 30, 450),
    "one pixel in the middle": change(flat(400, 480), 200, 240),
    "one pixel in the border": change(flat(400, 480), 3, 240),
    "one pixel inside the border": change(flat(400, 480), 4, 240),
    "photograph": picture(1),
    "flat in the middle": np.concatenate([flat(400, 400), picture(2, 400, 100)], axis=1),
    "ramp": np.arange(240, dtype=np.uint8).repeat(300).reshape(240, 100, 3),
}


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", IMAGES)
def test_image_is_refused_where_psnr_of_the_base_is_infinite(tmp_path, name, scale):
    image = IMAGES[name]
    pair = Pair("a", write(tmp_path / "a.bmp", image), size=image.shape[:2])
    images = ImageSet(name="val", pairs=(pair,), scale=scale)
    psnr = per_image(lambda x: bicubic_base(x, scale), images, torch.device("cpu"))["a"]
    if math.isfinite(psnr):
        refuse_exact_base(pair, image, None, scale)
    else:
        with pytest.raises(ImageError, match=r"a\.bmp: bicubic upsampling gives it exactly"):
            refuse_exact_base(pair, image, None, scale)
    if name.startswith(("flat", "black", "white")) and name != "flat in the middle":
        assert psnr == math.inf


@pytest.mark.parametrize("role", ["val", "test"])
@pytest.mark.parametrize("others", [(), ("train",), ("train", "val", "test")])
def test_flat_image_is_named_when_data_are_opened(tmp_path, role, others):
    roles = {role, *others}
    for seed, other in enumerate(sorted(roles)):
        write_pairs(tmp_path / other, None, ["a", "b"], first_seed=10 * seed)
    write(tmp_path / role / "grey.png", flat(64, 80))
    given = {other: tmp_path / other for other in roles}
    with pytest.raises(ValueError, match=rf"{role}: .*grey\.png: bicubic .* data\.on_error=skip"):
        open_roles(config(**given), scale=4, progress=False)
    opened = open_roles(config(**given, on_error="skip"), scale=4, progress=False)
    assert len(opened.need(role)) == 2
    assert any("grey.png: bicubic upsampling gives it exactly" in line for line in opened.notices)


def test_flat_image_may_train_and_may_be_evaluated(tmp_path):
    write_pairs(tmp_path / "set", None, ["a"])
    write(tmp_path / "set" / "grey.png", flat(64, 80))
    assert len(open_roles(config(train=tmp_path / "set"), scale=4).need("train")) == 2
    alone = open_roles(config(test=tmp_path / "set"), scale=4, roles=("test",))
    assert len(alone.need("test")) == 2


def test_search_refuses_a_flat_image_before_a_run_is_made(tmp_path, capsys):
    write_pairs(tmp_path / "train", None, ["a", "b"])
    write_pairs(tmp_path / "val", None, ["c"], first_seed=7)
    write(tmp_path / "val" / "grey.png", flat(64, 80))
    folders = [f"data.{role}={tmp_path / role}" for role in ("train", "val")]
    run = tmp_path / "run"
    given = ["proxy.patch=8", "proxy.batch_size=2", "device=cpu"]
    assert main(["search", f"run={run}", "data=folder", *folders, *given]) == 2
    error = capsys.readouterr().err
    assert "grey.png: bicubic upsampling gives it exactly" in error
    assert error.count("\n") == 1
    assert not run.exists()
