"""ZenoSR, DAN and VSCINet against a second implementation, by weights of the released names."""

import json
import re
from pathlib import Path

import pytest
import torch

from search_spaces import build, published
from search_spaces.checkpoints.official import load_official
from search_spaces.published import entry
from tests.search_spaces.blocks.naive_acb import Released, random_weights, released_shapes

NETWORKS = ["dan", "vscinet", "zenosr"]
GOLDEN = Path(__file__).parents[4] / "shared" / "reference" / "golden" / "team04_ZenoSR.json"


def loaded(name, tmp_path, seed=0):
    """Our network in float64 with released weights, and these."""
    weights = random_weights(name, seed)
    torch.save({"params_ema": weights}, tmp_path / "released.pth")
    net = build(published(name)).double()
    load_official(net, tmp_path / "released.pth")
    return net, weights


@pytest.mark.parametrize("name", NETWORKS)
def test_every_released_weight_is_ours_and_every_one_of_ours_is_released(name, tmp_path):
    net, weights = loaded(name, tmp_path)
    assert len(weights) == len(net.state_dict())
    assert sum(w.numel() for w in weights.values()) == sum(p.numel() for p in net.parameters())
    assert sorted(w.double().sum().item() for w in weights.values()) == pytest.approx(
        sorted(value.sum().item() for value in net.state_dict().values())
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_every_pattern_of_names_is_needed_and_no_name_fits_two(name):
    patterns = entry(name)["official_keys"]
    fitting = [[p for p in patterns if re.fullmatch(p, key)] for key in released_shapes(name)]
    assert all(len(found) == 1 for found in fitting)
    assert {found[0] for found in fitting} == set(patterns)


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"the released names are not there: {GOLDEN}")
def test_names_and_shapes_are_those_of_the_released_checkpoint():
    found = json.loads(GOLDEN.read_text())["state_dict"]
    assert {key: tuple(value["shape"]) for key, value in found.items()} == released_shapes("zenosr")


@pytest.mark.parametrize("size", [(8, 8), (17, 23), (72, 73), (90, 150), (145, 40)])
@pytest.mark.parametrize("name", NETWORKS)
def test_network_computes_the_formulas_for_each_image_of_a_batch(name, size, tmp_path):
    """Up to two windows an image; what has more takes long, and is an image alone."""
    net, weights = loaded(name, tmp_path)
    images = torch.rand(
        2 if max(size) <= 73 else 1,
        3,
        *size,
        generator=torch.Generator().manual_seed(1),
        dtype=torch.float64,
    )
    for training, window in ((False, 72), (True, None)):
        wanted = torch.stack([Released(name, weights, window)(image) for image in images])
        with torch.no_grad():
            found = net.train(training)(images)
        assert wanted.std() > 0.05
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_windows_matter_from_one_pixel_beyond_on(name, tmp_path):
    net, _ = loaded(name, tmp_path)
    for size, differ in (((72, 72), False), ((72, 73), True)):
        image = torch.rand(1, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            assert (net.eval()(image) - net.train()(image)).abs().max().gt(1e-6) == differ
