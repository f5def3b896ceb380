"""Parents and children for the tests of inheritance."""

import functools
import random

import torch
from omegaconf import OmegaConf

from nas.train.inherit import Teacher
from nas.train.proxy import residual_spec, start_proxy
from nas.train.start import CALIBRATION_STEP
from search_spaces.chooser import Chooser
from search_spaces.initialise import initial_network
from search_spaces.network import Network
from search_spaces.spaces.span import SpanSpace
from tests.nas.train.proxies import CONF, patch_store, proxy
from tests.search_spaces.tiny import tiny_spec

CPU = torch.device("cpu")
SMALL = {"num_blocks": 3, "channels": 12, "taps": "all", "activation": "silu"}
V2 = {
    "entry": "block",
    "normalise": False,
    "attention": "conv1x1",
    "activation": "relu",
    "bias": False,
}
V2 |= {"skip": "near", "head": "separable"}


class Draw(Chooser):
    """Chooses at random."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, name, options):
        return self.random.choice(options)


def member(space, seed, **changes):
    """A random member of a space of conf/, as the proxy trains it."""
    values = OmegaConf.to_container(OmegaConf.load(CONF / "space" / f"{space}.yaml")) | {"scale": 4}
    del values["_target_"]
    return residual_spec(SpanSpace(**values | changes).sample(Draw(seed)))


def random_images(num=4, side=16, seed=0):
    return torch.rand(num, 3, side, side, generator=torch.Generator().manual_seed(seed))


def random_teacher(spec, rows=1024):
    """A parent that has learned nothing, but gives something."""
    images = random_images()
    return Teacher(initial_network(spec, 1, images, zero_output=False), images, rows=rows)


@functools.cache
def patches():
    return patch_store("coffee", "motorcycle_left")


@functools.cache
def trained() -> Network:
    """A residual network of three blocks and twelve channels, trained for a few seconds."""
    config = proxy(steps=300, batch_size=4, optimizer={"lr": 3e-3})
    trainer = start_proxy(tiny_spec(**SMALL), config, patches(), seed=0, device=CPU)
    for _ in range(config.steps):
        trainer.step()
    return trainer.averaged()


@functools.cache
def teacher():
    images, _ = patches().batch(CALIBRATION_STEP, 40, 24)
    return Teacher(trained(), images, rows=8192)
