"""Show what a network costs: parameters, FLOPs, activations, memory, latency and score.

Counts are those of the inference form and exact; FLOPs are multiply-accumulates, as the challenge counts
them. Latency is a paired ratio to the baseline with its 95 % interval, on this machine, with random weights,
in every mode that the machine has; the first mode feeds the score. Several networks are read together.

Examples:
    nas profile arch=published/spanv2
    nas profile arch=published/spanv2 size=[720,1280] layers=true measure=false
    nas profile arch=[published/spanv2,published/spanf,mine.yaml]
    nas profile arch=published/all
    nas profile arch=mine.yaml baseline=published/spanf latency=thorough
    nas profile arch=published/span device=cpu latency.threads=2 'latency.sizes=[[64,64],[128,128]]'
"""

import dataclasses

from rich.console import Console

from nas.commands.architectures import named, resolve_arch
from nas.commands.profile_tables import (
    TOLD,
    agreement,
    comparison,
    counts,
    layer_table,
    network_table,
    notes,
    reported,
    runtimes,
    told,
)
from nas.measure.cost import layer_costs
from nas.measure.device import pick_device
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.layers import layer_times
from nas.measure.latency.meter import LatencyMeter
from nas.measure.latency.modes import available
from nas.record import Latency
from nas.score import Challenge
from search_spaces import ArchSpec

COUNTS_ALONE = "measure=false gives counts alone"


def run(
    *,
    arch: str | list[str],
    baseline: str,
    size: tuple[int, int],
    layers: bool,
    measure: bool,
    device: str,
    seed: int,
    latency: LatencyConfig,
    challenge: Challenge,
) -> None:
    """Count, time and print."""
    if min(size) < 1:
        raise ValueError(f"size must be at least [1,1], got [{size[0]},{size[1]}]")
    names = list(named([arch] if isinstance(arch, str) else arch))
    specs = [resolve_arch(name) for name in names]
    scales = sorted({spec.scale for spec in specs})
    if len(scales) != 1:
        found = ", ".join(f"x{scale}" for scale in scales) or "none"
        raise ValueError(f"arch must name networks of one scale, got {found}")
    base = dataclasses.replace(resolve_arch(baseline, key="baseline"), scale=scales[0])
    meters = _meters(latency, base, device) if measure else []
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width of its own: nothing is cut
    form = "inference form, random weights"
    if layers:
        for name, spec in zip(names, specs, strict=True):
            _say(console, f"\n{name}: layers")
            times = None
            if meters:
                _say(
                    console, f"timing each layer in turn with the network: minutes; {COUNTS_ALONE}"
                )
                times = layer_times(spec, meters[0], seed=seed)
            table, note = layer_table(layer_costs(spec, size=size), times)
            console.print(table)
            _say(console, note)
    if meters and len(specs) > 1:
        _say(console, f"timing {len(specs)} networks in turn with {baseline}; {COUNTS_ALONE}")
    readings = [_read(meter, specs, seed) for meter in meters]
    if len(specs) == 1:
        title = f"{names[0]}  x{base.scale}, {specs[0].arch_id}, {form}"
        rows = counts(specs[0], base, size)
        rows += (
            runtimes([one[0] for one in readings], specs[0], base, challenge) if readings else []
        )
        table = network_table(rows + told(names[0], baseline), baseline)
    else:
        title = f"{len(specs)} networks  x{base.scale}, {form}, ratios to {baseline}"
        table = comparison(names, specs, readings, base, size, challenge)
    _say(console, f"\n{title}")
    console.print(table)
    lines = notes(size, readings, challenge)
    if any(map(reported, names)):
        lines.append(TOLD)
    if len(specs) > 2:
        lines += agreement(names, specs, readings)
    for line in lines:
        _say(console, line)


def _say(console: Console, line: str) -> None:
    """A line as it is: no markup is read in it, and it is not cut."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _meters(latency: LatencyConfig, base: ArchSpec, device: str) -> list[LatencyMeter]:
    """A meter for each mode that there is, or for the one that was asked for."""
    where = pick_device(device)
    every = latency.mode == "auto" and latency.backend == "torch"
    modes = available(where) if every else [latency.mode]
    configs = [dataclasses.replace(latency, mode=mode) for mode in modes]
    return [LatencyMeter(config, baseline=base, device=where) for config in configs]


def _read(meter: LatencyMeter, specs: list[ArchSpec], seed: int) -> list[Latency]:
    """Read all networks.

    Raises:
        ValueError: one cannot be read; it says which and why.
    """
    if specs == [meter.baseline]:
        return [meter.baseline_reading(seed=seed)]
    found = meter.measure_all(specs, seed=seed)
    for spec, one in zip(specs, found, strict=True):
        if isinstance(one, RuntimeError):
            raise ValueError(f"latency of {spec.arch_id}: {one}")
    return [one for one in found if isinstance(one, Latency)]
