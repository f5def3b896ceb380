"""Show what a network costs: parameters, FLOPs, activations, memory, latency and score.

Counts are those of the inference form and exact; FLOPs are multiply-accumulates, as the challenge counts
them. Latency is a paired ratio to the baseline with its 95 % interval, on this machine, with random weights.

Examples:
    nas profile arch=published/spanv2
    nas profile arch=published/spanv2 size=[720,1280] layers=true measure=false
    nas profile arch=mine.yaml baseline=published/spanf latency=thorough
    nas profile arch=published/span device=cpu latency.threads=2 'latency.sizes=[[64,64],[128,128]]'
"""

import dataclasses

from rich import box
from rich.console import Console
from rich.table import Table

from nas.commands.architectures import resolve_arch
from nas.measure.cost import CHALLENGE_SIZE, LayerCost, layer_costs, measure_cost, training_params
from nas.measure.device import pick_device
from nas.measure.latency import LatencyConfig, LatencyMeter
from nas.record import Cost, Latency
from nas.score import Challenge
from search_spaces import ArchSpec


def run(
    *,
    arch: str,
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
    spec = resolve_arch(arch)
    base = dataclasses.replace(resolve_arch(baseline, key="baseline"), scale=spec.scale)
    meter = LatencyMeter(latency, baseline=base, device=pick_device(device)) if measure else None
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width of its own: nothing is cut
    form = "inference form, random weights"
    console.print(f"\n{arch}  x{spec.scale}, {spec.arch_id}, {form}", highlight=False, markup=False)
    if layers:
        console.print(_layer_table(layer_costs(spec, size=size)))
    reading = None
    if meter:
        reading = meter.baseline_reading(seed=seed) if spec == base else meter.measure(spec, seed=seed)
    rows = counts(spec, base, size) + (runtimes(reading, spec, base, challenge) if reading else [])
    console.print(_table(rows, baseline))
    for line in notes(size, reading, challenge if reading else None):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def counts(spec: ArchSpec, base: ArchSpec, size: tuple[int, int]) -> list[tuple[str, ...]]:
    """Rows of what is counted: name, this network, the baseline, the ratio."""
    ours, theirs = measure_cost(spec, size=size), measure_cost(base, size=size)
    rows = [
        ("parameters", ours.params, theirs.params, ",d"),
        ("  in training form", training_params(spec), training_params(base), ",d"),
        ("FLOPs", ours.flops, theirs.flops, ",d"),
        ("activations", ours.activations, theirs.activations, ",d"),
        ("convolutions", ours.num_conv, theirs.num_conv, ",d"),
        ("memory MiB", ours.memory_mib, theirs.memory_mib, ",.2f"),
    ]
    return [(name, f"{a:{form}}", f"{b:{form}}", f"{a / b:.3f}" if b else "") for name, a, b, form in rows]


def runtimes(reading: Latency, spec: ArchSpec, base: ArchSpec, challenge: Challenge) -> list[tuple[str, ...]]:
    """Rows of what is timed, and of the score that it gives."""
    ours, theirs = measure_cost(spec), measure_cost(base)
    return [
        (
            "latency ms",
            f"{reading.runtime_ms:.3f}",
            f"{reading.baseline_ms:.3f}",
            f"{reading.ratio:.3f} ± {reading.ci:.3f}",
        ),
        (
            "score",
            f"{score(reading, ours, theirs, challenge):.3f}",
            f"{challenge.score(1, 1, 1):.3f}",
            "",
        ),
    ]


def score(reading: Latency, ours: Cost, theirs: Cost, challenge: Challenge) -> float:
    """The challenge's score of ratios to the baseline, FLOPs at 256x256."""
    return challenge.score(reading.ratio, ours.flops / theirs.flops, ours.params / theirs.params)


def notes(size: tuple[int, int], reading: Latency | None, challenge: Challenge | None) -> list[str]:
    """Say how the figures are meant, and what fed the score."""
    lines = [
        f"FLOPs: multiply-accumulates at 1x3x{size[0]}x{size[1]}, as activations (elements that convolutions "
        "give) and memory (peak of live tensors in a forward, float32)."
    ]
    if size != CHALLENGE_SIZE:
        lines[0] += " The challenge counts at 256x256."
    if reading is None or challenge is None:
        return lines
    cpu = reading.mode == "cpu"
    on = f"{reading.device}, {reading.threads} thread{'s'[: reading.threads > 1]}" if cpu else reading.device
    sizes = reading.sizes.split(",")
    lines.append(
        f"Latency: mode {reading.mode}, {reading.dtype}, LR {', '.join(sizes[:3])}"
        f"{f' and {len(sizes) - 3} more sizes' if len(sizes) > 3 else ''}, on {on}; "
        f"median of {reading.rounds} paired rounds and its 95 % interval, "
        f"{reading.rejected} disturbed rounds set aside."
    )
    kind = "CPU latency" if cpu else f"GPU latency (mode {reading.mode}, {reading.dtype})"
    lines.append(
        f"Score: weights of {challenge.name}, lower is better; from {kind}: compare only with scores from "
        f"this machine{'' if cpu else ' and mode'}. PSNR is not measured here, so no gate is applied."
    )
    return lines


def _table(rows: list[tuple[str, ...]], baseline: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for head in ("network", baseline, "ratio"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _layer_table(layers: list[LayerCost]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("layer", "kind", "output"):
        table.add_column(head, no_wrap=True)
    for head in ("parameters", "FLOPs", "%", "activations"):
        table.add_column(head, justify="right", no_wrap=True)
    total = sum(layer.flops for layer in layers)
    for layer in layers:
        table.add_row(
            layer.name,
            layer.kind,
            "x".join(map(str, layer.shape)),
            f"{layer.params:,d}",
            f"{layer.flops:,d}",
            f"{layer.flops / total:.1%}" if total else "",
            f"{layer.activations:,d}",
        )
    return table
