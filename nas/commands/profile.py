"""Show what a network costs: parameters, FLOPs, activations, memory, latency and score.

Counts are those of the inference form and exact; FLOPs are multiply-accumulates, as the challenge
counts them. Latency is a paired ratio to the baseline with its 95 % interval, on this machine, with
random weights, in every mode that the machine has; the first mode feeds the score. Several networks
are read together.

Examples:
    nas profile arch=published/spanv2
    nas profile arch=published/spanv2 size=[720,1280] layers=true measure=false
    nas profile arch=[published/spanv2,published/spanf,mine.yaml]
    nas profile arch=published/all
    nas profile arch=mine.yaml baseline=published/spanf latency=thorough
    nas profile arch=published/span device=cpu latency.threads=2 'latency.sizes=[[64,64],[128,128]]'
"""

import dataclasses

from rich.table import Table

from nas.commands.architectures import named, resolve_arch
from nas.commands.profile_notes import REPORT_NOTE, agreement, notes, reported
from nas.commands.profile_tables import (
    comparison,
    counts,
    layer_table,
    network_table,
    report_rows,
    runtimes,
)
from nas.measure.cost import layer_costs
from nas.measure.device import pick_device
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.layers import layer_times
from nas.measure.latency.meter import LatencyMeter
from nas.measure.latency.modes import available
from nas.record import Latency
from nas.score import Challenge
from nas.system.console import PlainConsole, open_console, print_lines
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
    # What can be refused is refused before the device is taken.
    if min(size) < 1:
        raise ValueError(f"size must be at least [1,1], got [{size[0]},{size[1]}]")
    names, specs = _resolve_networks(arch)
    base = dataclasses.replace(resolve_arch(baseline, key="baseline"), scale=specs[0].scale)
    meters = _make_meters(latency, base, device) if measure else []

    # Layers come first: the summary then stands at the end, where a terminal shows it.
    console = open_console()
    if layers:
        for name, spec in zip(names, specs, strict=True):
            _print_layers(console, name, spec, meters, size=size, seed=seed)
    if meters and len(specs) > 1:
        waiting = f"timing {len(specs)} networks in turn with {baseline}; {COUNTS_ALONE}"
        print_lines(console, [waiting])

    readings = [_read_latencies(meter, specs, seed) for meter in meters]

    # One network stands beside the baseline, a column each; several are rows.
    if len(specs) == 1:
        mark = f"{names[0]}  x{base.scale}, {specs[0].arch_id}"
        firsts = [per_mode[0] for per_mode in readings]
        rows = counts(specs[0], base, size)
        rows += runtimes(firsts, specs[0], base, challenge) if firsts else []
        table = network_table(rows + report_rows(names[0], baseline), baseline)
    else:
        mark = f"{len(specs)} networks  x{base.scale}"
        table = comparison(names, specs, readings, base, size, challenge)

    # Notes only on what the tables show.
    lines = notes(size, readings, challenge)
    lines += [REPORT_NOTE] if any(map(reported, names)) else []
    lines += agreement(names, specs, readings) if len(specs) > 2 else []
    ratios = f", ratios to {baseline}" if len(specs) > 1 else ""
    _print_table(console, f"{mark}, inference form, random weights{ratios}", table, lines)


def _resolve_networks(arch: str | list[str]) -> tuple[list[str], list[ArchSpec]]:
    """Return the names of networks and their specs.

    Raises:
        ValueError: a name names nothing, or the networks are not of one scale.
    """
    # published/all stands for many names.
    names = list(named([arch] if isinstance(arch, str) else arch))
    specs = [resolve_arch(name) for name in names]
    scales = sorted({spec.scale for spec in specs})
    if len(scales) != 1:
        listed = ", ".join(f"x{scale}" for scale in scales) or "none"
        raise ValueError(f"arch must name networks of one scale, got {listed}")
    return names, specs


def _print_table(console: PlainConsole, title: str, table: Table, lines: list[str]) -> None:
    print_lines(console, ["", title])
    console.print(table)
    print_lines(console, lines)


def _print_layers(
    console: PlainConsole,
    name: str,
    spec: ArchSpec,
    meters: list[LatencyMeter],
    *,
    size: tuple[int, int],
    seed: int,
) -> None:
    """Print a table of a network's layers; they are timed in the first mode, if there is one."""
    print_lines(console, ["", f"{name}: layers"])
    times = None
    if meters:
        # A minute without a word looks like a hang.
        waiting = f"timing each layer in turn with the network: minutes; {COUNTS_ALONE}"
        print_lines(console, [waiting])
        times = layer_times(spec, meters[0], seed=seed)

    table, note = layer_table(layer_costs(spec, size=size), times)
    console.print(table)
    print_lines(console, [note])


def _make_meters(latency: LatencyConfig, base: ArchSpec, device: str) -> list[LatencyMeter]:
    """Return a meter for each mode that there is, or for the one that was asked for."""
    # The first mode feeds the score: the device's own.
    where = pick_device(device)
    # auto means every mode here, and the usual one in a search.
    every = latency.mode == "auto" and latency.backend == "torch"
    modes = available(where) if every else [latency.mode]
    configs = [dataclasses.replace(latency, mode=mode) for mode in modes]
    return [LatencyMeter(config, baseline=base, device=where) for config in configs]


def _read_latencies(meter: LatencyMeter, specs: list[ArchSpec], seed: int) -> list[Latency]:
    """Read all networks in one mode.

    Raises:
        ValueError: one cannot be read; the message says which and why.
    """
    # The baseline alone has nothing to be paired with: its ratio is 1 by definition.
    if specs == [meter.baseline]:
        return [meter.baseline_reading(seed=seed)]
    outcomes = meter.measure_all(specs, seed=seed)
    for spec, outcome in zip(specs, outcomes, strict=True):
        # A table with a missing network would compare the others wrongly.
        if isinstance(outcome, RuntimeError):
            raise ValueError(f"latency of {spec.arch_id}: {outcome}")
    return [outcome for outcome in outcomes if isinstance(outcome, Latency)]
