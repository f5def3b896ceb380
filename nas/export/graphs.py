"""What formats that hold a graph share: what it may not hold, and what is noted in it."""

import json
from typing import Any

import torch
from torch import Tensor, nn

from nas.export.bundle import Bundle
from search_spaces.blocks.dwmamba.routed_scan import RoutedScan
from search_spaces.layers.mamba import Mamba

SCANS = (Mamba, RoutedScan)
# What is noted in a file of the figures of a search, where they are known.
FIGURES = ("params", "flops", "psnr_db", "psnr_gain_db", "runtime_ms", "runtime_ratio", "score")


class Clamped(nn.Module):
    """An upscaler whose output is cut to [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.network(image)
        return torch.clamp(out, 0.0, 1.0)


def check_scans(network: nn.Module) -> None:
    """Refuse a network that walks its pixels one by one: a graph would hold each step.

    Raises:
        ValueError: it has such a layer; the message names it and its place.
    """
    for place, module in network.named_modules():
        if isinstance(module, SCANS):
            raise ValueError(
                f"{place}: {type(module).__name__} scans the pixels one after the other, which no "
                "graph holds for images of any size; use formats=[safetensors], or an architecture "
                "without it"
            )


def list_metadata(bundle: Bundle, *, clamped: bool) -> dict[str, str]:
    """Return what a file says of itself: how it is used, what it is and what was measured."""
    facts = bundle.provenance
    figures: dict[str, Any] = {name: facts[name] for name in FIGURES if facts.get(name) is not None}
    if facts.get("training"):
        figures["trained_psnr_db"] = facts["training"]["psnr_db"]
    return {
        "scale": str(bundle.spec.scale),
        "range": "input in [0, 1]; output " + ("in [0, 1]" if clamped else "about [0, 1]"),
        "layout": "NCHW, RGB",
        "arch_id": bundle.spec.arch_id,
        "draft": "no" if bundle.base is None else f"yes: a proxy over its {bundle.base} base",
        "figures": json.dumps(figures, sort_keys=True),
        "commit": str(facts.get("commit") or facts.get("version") or "unknown"),
    }
