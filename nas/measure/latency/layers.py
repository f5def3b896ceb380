"""The time of each layer, paired as latencies are: the whole network is the baseline."""

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
from nas.measure.latency.protocol import Limits, read
from nas.measure.latency.rounds import Block, Reading
from nas.measure.latency.stopwatch import Forward
from nas.measure.lock import exclusive
from search_spaces.initialise import initial_network
from search_spaces.spec import ArchSpec

MIN_ROUNDS, MAX_ROUNDS = 5, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """The time of one layer alone, on the inputs that it gets in the network.

    Attributes:
        share: of the whole network's time.
        ci: half-width of the 95 % interval of the share.
    """

    name: str
    ms: float
    share: float
    ci: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """The times of a network's layers, in the order in which they run.

    What the network computes between its layers is in none of them.

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
    Raises:
        RuntimeError: a layer failed, as when its memory ran out.
    """
    # The first size alone: each further one would take as long again.
    size, config = meter.sizes[0], meter.config
    image = torch.rand(1, 3, size.height, size.width, generator=torch.Generator().manual_seed(seed))
    network = initial_network(spec, seed, image, zero_output=False).to(meter.device).eval()
    whole = Forward(network=network, image=image.to(meter.device), spec=spec)

    with (
        exclusive(device_id(meter.device)) as hold,
        reading_conditions(meter.device, threads=config.threads, tf32=config.tf32),
        torch.inference_mode(),
    ):
        inputs = _record_inputs(network, whole.image)
        layers = [
            _make_forward(network.get_submodule(name), layer_inputs, whole.image)
            for name, layer_inputs in inputs.items()
        ]
        # The first subject is the baseline: a layer's ratio to it is its share.
        subjects = [whole, *layers]

        def timer(subject: int, place: int, repeats: int) -> Block:
            return meter.stopwatch(subjects[subject], repeats)

        # All layers at once: they take turns with the network, so each has its baseline near.
        limits = _share_limits(config.limits(), len(layers))
        outcomes = read(timer, len(layers), [1.0], limits, np.random.default_rng(seed), hold.pause)

    return _collect_times(dict(zip(inputs, outcomes, strict=True)), str(size))


def _share_limits(limits: Limits, num_layers: int) -> Limits:
    """Return the limits of each layer's reading; all layers share the time of one network."""
    return replace(
        limits,
        min_rounds=MIN_ROUNDS,
        max_rounds=MAX_ROUNDS,
        max_seconds=limits.max_seconds / max(1, num_layers),
    )


def _collect_times(outcomes: dict[str, Reading | RuntimeError], size: str) -> LayerTimes:
    """Return the times of layers from their readings.

    Raises:
        RuntimeError: a layer failed; it is named.
    """
    # One failed layer would leave a hole in the sum.
    readings: dict[str, Reading] = {}
    for name, outcome in outcomes.items():
        if isinstance(outcome, RuntimeError):
            raise RuntimeError(f"{name}: {outcome}")
        readings[name] = outcome

    layers = tuple(
        LayerTime(name=name, ms=reading.candidate_ms, share=reading.ratio, ci=reading.ci)
        for name, reading in readings.items()
    )

    # The whole network was timed beside every layer: the median of these is its time.
    whole_ms = float(np.median([reading.baseline_ms for reading in readings.values()]))
    return LayerTimes(layers=layers, whole_ms=whole_ms, size=size)


def _record_inputs(network: nn.Module, image: Tensor) -> dict[str, tuple[Any, ...]]:
    """Return what each module without children is called with, by its name."""
    inputs: dict[str, tuple[Any, ...]] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda module, args: inputs.update({name: args})

    # Identities and containers compute nothing of their own.
    hooks = [
        module.register_forward_pre_hook(keep(name))
        for name, module in network.named_modules()
        if not isinstance(module, nn.Identity) and not any(True for _ in module.children())
    ]
    # A layer that runs twice in a forward is timed on its last inputs.
    network(image)
    for hook in hooks:
        hook.remove()
    return inputs


def _make_forward(layer: nn.Module, inputs: tuple[Any, ...], image: Tensor) -> Forward:
    """Return the forward of a layer on its inputs in the network.

    The image only says where it runs: a layer such as an attention's bias takes no input at all.
    """

    def run(image: Tensor) -> Tensor:
        out: Tensor = layer(*inputs)
        return out

    return Forward(network=run, image=image, spec=None)
