"""What makes training steps faster on a GPU: the same patches, and the same training."""

import pytest
import torch

from nas.train.speed.choice import choose_speed, list_candidates
from nas.train.speed.config import PLAIN
from nas.train.speed.device_patches import DeviceImages
from nas.train.start import start_network
from nas.train.trainer import StageTrainer
from tests.nas.train.proxies import patch_store
from tests.nas.train.test_trainer import STAGE
from tests.search_spaces.tiny import tiny_spec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
]


@pytest.fixture(scope="module")
def patches():
    return patch_store("coffee", "rocket")


def test_patches_are_those_of_the_cpu_to_the_bit(patches):
    images = DeviceImages.place(patches, torch.device("cuda", 0))
    for patch in (8, (6, 10)):
        found = images.cut(patches).batch(3, 64, patch)
        for ours, theirs in zip(found, patches.batch(3, 64, patch), strict=True):
            assert torch.equal(ours.cpu(), theirs)


def test_every_choice_trains_close_to_plain_steps(patches):
    device = torch.device("cuda", 0)
    images = DeviceImages.place(patches, device)

    def open_trainer(speed):
        net = start_network(tiny_spec(), patches, seed=0, patch=16)
        batches = images.cut(patches)
        return StageTrainer(net, STAGE, batches, shapes=[(16, 16)], device=device, speed=speed)

    plain_loss = open_trainer(PLAIN).step()
    for speed in list_candidates(device):
        assert open_trainer(speed).step() == pytest.approx(plain_loss, rel=0.03)
    assert choose_speed(open_trainer, list_candidates(device), steps=10**7).gain > 0
