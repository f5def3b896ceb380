"""The proxies that proxy.py compares: overrides of `nas search`, and what no key changes.

What no key changes is a twist: the base and the start are part of what a proxy is, and every
candidate of a search sees the same patches. A twist changes them in the worker process that it is
asked for in.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import nas.search.evaluation.training
import nas.train.proxy
from nas.record import Quality
from nas.search.evaluation.evaluator import ProxyEvaluator
from nas.search.evaluation.requests import Say
from nas.search.evaluation.settings import EvaluatorSettings
from nas.search.evaluation.training import Trainings
from nas.system.seeds import derived_seed
from nas.train.parent import Parent
from search_spaces.network import Network, build
from search_spaces.spec import ArchSpec

PARENT = "parent=published/span"  # beside its weights, --parent-weights
# Most variants change one thing of FIRST. The default's batch and rate differ: they came of this.
FIRST = ("proxy=brief", "proxy.batch_size=4", "proxy.patch=24", "proxy.optimizer.muon_lr=0.01")
SMALL = ("proxy=brief", "proxy.batch_size=8", "proxy.patch=16")
ADAMW = "proxy.optimizer.muon_lr=null"
CUT = (*FIRST, PARENT, ADAMW)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to train.

    Attributes:
        what: in words, for the table.
        overrides: of `nas search`.
        twist: what no key changes; "": nothing.
    """

    what: str
    overrides: tuple[str, ...]
    twist: str = ""

    @property
    def needs_parent(self) -> bool:
        """Whether it is left out without --parent-weights."""
        return PARENT in self.overrides


TRUTHS = {  # twenty times the pixels of a brief training; what counts of a network is its best
    "truth": Variant("`proxy=week`", ("proxy=week",)),
    "truth_high": Variant("Muon 0.01", ("proxy=week", "proxy.optimizer.muon_lr=0.01")),
}
VARIANTS = {
    "brief": Variant("`proxy=brief`: 8 patches of 16, Muon 0.005", ("proxy=brief",)),
    "quick": Variant("`proxy=quick`: half of it", ("proxy=quick",)),
    "overnight": Variant("`proxy=overnight`", ("proxy=overnight",)),
    "first": Variant("4 patches of 24, Muon 0.01", FIRST),
    "half": Variant("half as long", (*FIRST, "proxy.steps=400")),
    "double": Variant("twice as long", (*FIRST, "proxy.steps=1600")),
    "small_batch": Variant("8 patches of 16", (*SMALL, "proxy.optimizer.muon_lr=0.01")),
    "small_patches": Variant("16 patches of 16", (*FIRST, "proxy.batch_size=16", "proxy.patch=16")),
    "own_patches": Variant("other patches for each network", FIRST, "own_patches"),
    "adamw": Variant("AdamW alone, 5e-4", (*FIRST, ADAMW)),
    "adamw_high": Variant("AdamW alone, 2e-3", (*FIRST, ADAMW, "proxy.optimizer.lr=2e-3")),
    "muon_low": Variant("Muon 0.005", (*FIRST, "proxy.optimizer.muon_lr=0.005")),
    "muon_high": Variant("Muon 0.02", (*FIRST, "proxy.optimizer.muon_lr=0.02")),
    "low_rates": Variant(
        "Muon 0.003, AdamW 1e-3",
        (*FIRST, "proxy.optimizer.muon_lr=0.003", "proxy.optimizer.lr=1e-3"),
    ),
    "high_rates": Variant(
        "Muon 0.02, AdamW 1e-3", (*FIRST, "proxy.optimizer.muon_lr=0.02", "proxy.optimizer.lr=1e-3")
    ),
    "mse": Variant("squared error", (*FIRST, "proxy.loss=mse")),
    "no_average": Variant("no averaged weights", (*FIRST, "proxy.ema=0")),
    "base_none": Variant("no base", FIRST, "base_none"),
    "base_bilinear": Variant("bilinear base", FIRST, "base_bilinear"),
    "pytorch_start": Variant("PyTorch's start", FIRST, "pytorch_start"),
    "unscaled": Variant("PyTorch's start, inputs x1", FIRST, "unscaled"),
    "distilled": Variant(
        "distilled from the parent's output", (*FIRST, PARENT, "proxy.distill=1"), "fresh"
    ),
    "cut": Variant(
        "weights cut from the parent, untrained",
        (*CUT, "proxy.steps=1", "proxy.optimizer.lr=1e-12"),
    ),
    "cut_trained": Variant("cut, 200 steps of AdamW", (*CUT, "proxy.steps=200")),
    "cut_distilled": Variant(
        "cut, 200 steps of AdamW, distilled", (*CUT, "proxy.steps=200", "proxy.distill=1")
    ),
}


class OwnPatches(ProxyEvaluator):
    """An evaluator that trains each network on patches of its own."""

    def train(self, spec: ArchSpec, seed: int, reference_db: float | None, say: Say) -> Quality:
        """Return the quality of a network, as `ProxyEvaluator.train` does."""
        own_seed = derived_seed(self.settings.seed, "own", spec.arch_id, seed)
        self.settings = dataclasses.replace(self.settings, seed=own_seed)
        self.trainings = Trainings(self.settings, self.device)
        return super().train(spec, seed, reference_db, say)


class Imitated(Parent):
    """A parent that gives its output to distil from, but no weights: networks start fresh."""

    def child(self, spec: ArchSpec, *, seed: int) -> Any:
        return None


def make_no_base(x: Tensor, scale: int) -> Tensor:
    """Return a base of zeros: the network makes the whole image."""
    return x.new_zeros(()).expand(*x.shape[:2], x.shape[2] * scale, x.shape[3] * scale)


def make_bilinear_base(x: Tensor, scale: int) -> Tensor:
    """Return the bilinear base."""
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


def start_as_pytorch(spec: ArchSpec, seed: int, images: Tensor) -> Network:
    """Return a network with PyTorch's initialisation, its upsampler zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build(spec)
    with torch.no_grad():
        for parameter in net.upsampler.parameters():
            parameter.zero_()
    return net


def start_unscaled(spec: ArchSpec, seed: int, images: Tensor) -> Network:
    """Return the same without the published scaling of inputs to 255."""
    return start_as_pytorch(dataclasses.replace(spec, normalise=False), seed, images)


TWISTS: dict[str, tuple[Any, str, Any]] = {  # module, name in it, what stands in for it
    "base_none": (nas.train.proxy, "bicubic_base", make_no_base),
    "base_bilinear": (nas.train.proxy, "bicubic_base", make_bilinear_base),
    "pytorch_start": (nas.train.proxy, "initial_network", start_as_pytorch),
    "unscaled": (nas.train.proxy, "initial_network", start_unscaled),
    "fresh": (nas.search.evaluation.training, "Parent", Imitated),
}


def make_evaluator(settings: EvaluatorSettings, twist: str) -> ProxyEvaluator:
    """Return a search's own evaluator, twisted; call it in a worker process of its own."""
    if twist == "own_patches":
        return OwnPatches(settings)
    if twist:
        setattr(*TWISTS[twist])
    return ProxyEvaluator(settings)
