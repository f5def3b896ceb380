"""The time of each layer beside the whole network: paired as latencies are, the network as the baseline."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nas.measure.device import device_id
from nas.measure.latency.conditions import reading_conditions
from nas.measure.latency.meter import LatencyMeter
from nas.measure.latency.protocol import read
from nas.measure.latency.rounds import Block
from nas.measure.latency.stopwatch import Forward
from nas.measure.lock import exclusive
from search_spaces.initialise import initial_network
from search_spaces.spec import ArchSpec

MIN_ROUNDS, MAX_ROUNDS = 5, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """A layer alone, on its inputs in the network: ms, its share of the whole network, and +- of that."""

    name: str
    ms: float
    share: float
    ci: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """The layers in the order in which they run; what the network does between them is in none of them.

    Attributes:
        whole_ms: of the plain network, at the size.
        size: of the image, as "339x510".
    """

    layers: tuple[LayerTime, ...]
    whole_ms: float
    size: str

    @property
    def sum_ms(self) -> float:
        return math.fsum(layer.ms for layer in self.layers)


def layer_times(spec: ArchSpec, meter: LatencyMeter, *, seed: int) -> LayerTimes:
    """Time every module without children of the plain network, at the meter's first size.

    Each layer takes turns with the whole network, under the meter's conditions, in 5 to 15 rounds.

    Args:
        seed: of the random weights, the image and the order.
    """
    size, config = meter.sizes[0], meter.config
    image = torch.rand(1, 3, size.height, size.width, generator=torch.Generator().manual_seed(seed))
    network = initial_network(spec, seed, image, zero_output=False).to(meter.device).eval()
    whole = Forward(network=network, image=image.to(meter.device), spec=spec)
    with (
        exclusive(device_id(meter.device)) as hold,
        reading_conditions(meter.device, threads=config.threads, tf32=config.tf32),
        torch.inference_mode(),
    ):
        inputs = _inputs(network, whole.image)
        layers = [
            _forward(network.get_submodule(name), given, whole.image)
            for name, given in inputs.items()
        ]
        subjects = [whole, *layers]

        def timer(subject: int, place: int, repeats: int) -> Block:
            return meter.stopwatch(subjects[subject], repeats)

        limits = replace(
            config.limits(),
            min_rounds=MIN_ROUNDS,
            max_rounds=MAX_ROUNDS,
            max_seconds=config.max_seconds / max(1, len(layers)),
        )
        found = read(timer, len(layers), [1.0], limits, np.random.default_rng(seed), hold.pause)
    readings = []
    for name, one in zip(inputs, found, strict=True):
        if isinstance(one, RuntimeError):
            raise RuntimeError(f"{name}: {one}")
        readings.append(one)
    return LayerTimes(
        layers=tuple(
            LayerTime(name=name, ms=one.candidate_ms, share=one.ratio, ci=one.ci)
            for name, one in zip(inputs, readings, strict=True)
        ),
        whole_ms=float(np.median([one.baseline_ms for one in readings])),
        size=str(size),
    )


def _inputs(network: nn.Module, image: Tensor) -> dict[str, tuple[Any, ...]]:
    """What each module without children is called with, by its name."""
    seen: dict[str, tuple[Any, ...]] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda module, given: seen.update({name: given})

    hooks = [
        module.register_forward_pre_hook(keep(name))
        for name, module in network.named_modules()
        if not isinstance(module, nn.Identity) and not any(True for _ in module.children())
    ]
    network(image)
    for hook in hooks:
        hook.remove()
    return seen


def _forward(layer: nn.Module, given: tuple[Any, ...], image: Tensor) -> Forward:
    """A layer on what it is given in the network; a bias of attention is given nothing."""

    def run(image: Tensor) -> Tensor:
        out: Tensor = layer(*given)
        return out

    return Forward(network=run, image=image, spec=None)
