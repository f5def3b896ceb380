"""A proxy and photographs for the tests of training."""

from pathlib import Path

from omegaconf import OmegaConf

from nas.data.builtin.photographs import photograph
from nas.data.patches import PatchStore
from nas.data.sets import ImageSet
from nas.train.proxy import Optimizer, ProxyConfig

CONF = Path(__file__).parents[3] / "conf"


def image_set(*names, role="train"):
    return ImageSet(name=role, pairs=tuple(photograph(name, source="") for name in names), scale=4)


def patch_store(*names, seed=0):
    return PatchStore(image_set(*names), seed=seed, progress=False)


def proxy(optimizer=None, **changes):
    """The brief proxy, briefer still."""
    values = OmegaConf.to_container(OmegaConf.load(CONF / "proxy" / "brief.yaml"))
    rates = values.pop("optimizer") | {"lr": 2e-3, "muon_lr": 0.01} | (optimizer or {})
    values |= {"steps": 4, "batch_size": 2, "patch": 16, "warmup": 0.1, "ema": 0.95} | changes
    del values["_target_"], rates["_target_"]
    return ProxyConfig(optimizer=Optimizer(**rates), **values)
