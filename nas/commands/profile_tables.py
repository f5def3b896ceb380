"""The tables of `nas profile`, and the words on how their figures are meant."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from nas.commands.architectures import PREFIX
from nas.measure.cost import CHALLENGE_SIZE, LayerCost, measure_cost, training_params
from nas.measure.latency.layers import LayerTimes
from nas.record import SET_IMAGES, Cost, Latency
from nas.report.words import NAMES
from nas.score import Challenge
from search_spaces import ArchSpec
from search_spaces.published import report

Row = tuple[str, ...]
REPORTED = {  # of the challenge's table: heads, and digits as printed
    "runtime_ms": ("report ms", 2),
    "flops_g": ("GFLOPs", 2),
    "psnr_test_db": ("test dB", 2),
}
TOLD = (
    "Report: the table of results of NTIRE 2026 Efficient SR as printed; ms are means of two sets of images "
    "on an RTX A6000, test dB is RGB PSNR on DIV2K_LSDIR_test."
)
FLAGS = {
    "disturbed": "more than a fifth of the rounds were, on a CPU with too wide an interval",
    "drifted": "fixed work took another time at the end than at the start",
    "contaminated": "another process computed on the GPU",
    "host_bound": "the host issued a network in 0.8 of its time or more: ratios come near to one of launches",
    "no_graph": "a CUDA graph could not be captured: kernels were launched one by one",
}


def counts(spec: ArchSpec, base: ArchSpec, size: tuple[int, int]) -> list[Row]:
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
    return [
        (name, f"{a:{form}}", f"{b:{form}}", f"{a / b:.3f}" if b else "")
        for name, a, b, form in rows
    ]


def runtimes(
    readings: Sequence[Latency], spec: ArchSpec, base: ArchSpec, challenge: Challenge
) -> list[Row]:
    """Rows of what is timed, a mode each, and of the score that the first one gives."""
    rows: list[Row] = []
    for one in readings:
        mode = f" {one.mode}" if len(readings) > 1 else ""
        rows.append(
            (f"latency{mode} ms", f"{one.runtime_ms:.3f}", f"{one.baseline_ms:.3f}", _ratio(one)),
        )
        if one.ratio_with_first is not None:
            first = f"{one.first_ms:.3f}", f"{one.baseline_first_ms:.3f}"
            rows.append(("  first image", *first, f"{one.ratio_with_first:.3f} with it"))
        if one.host_ms is not None:
            hosts = f"{one.host_ms:.3f}", f"{one.baseline_host_ms:.3f}"
            rows.append(("  of it issuing", *hosts, "host time of a forward, beside the GPU's"))
    ours, theirs = measure_cost(spec), measure_cost(base)
    score = _score(readings[0], ours, theirs, challenge)
    return [*rows, ("score", f"{score:.3f}", f"{challenge.score(1, 1, 1):.3f}", "")]


def told(name: str, baseline: str) -> list[Row]:
    """Rows of what the challenge's report says of a network, beside the baseline where it says something."""
    ours, theirs = reported(name), reported(baseline)
    rows = {"params_m": ("M parameters", 3)} | REPORTED
    return [
        (
            f"report: {head.removeprefix('report ')}",
            _told(ours, key, digits),
            _told(theirs, key, digits),
            "",
        )
        for key, (head, digits) in rows.items()
        if key in ours
    ]


def comparison(
    names: Sequence[str],
    specs: Sequence[ArchSpec],
    readings: Sequence[Sequence[Latency]],
    base: ArchSpec,
    size: tuple[int, int],
    challenge: Challenge,
) -> Table:
    """A row a network."""
    heads = ["parameters", "GFLOPs", "M activations", "memory MiB"]
    for per_mode in readings:
        heads += [f"{per_mode[0].mode} ms", "ratio"]
    heads += ["score"] if readings else []
    reports = [reported(name) for name in names]
    shown = {
        key: one for key, one in REPORTED.items() if key != "flops_g" or size == CHALLENGE_SIZE
    }
    heads += [head for head, _ in shown.values()] if any(reports) else []
    table = _table("network", heads)
    theirs = measure_cost(base)
    for place, (name, spec) in enumerate(zip(names, specs, strict=True)):
        try:
            cost = measure_cost(spec, size=size)
        except ValueError as error:
            raise ValueError(f"size=[{size[0]},{size[1]}], {name}: {error}") from None
        cells = [f"{cost.params:,d}", f"{cost.flops / 1e9:.3f}", f"{cost.activations / 1e6:.2f}"]
        cells.append(f"{cost.memory_mib:,.2f}")
        for per_mode in readings:
            cells += [f"{per_mode[place].runtime_ms:.2f}", _ratio(per_mode[place])]
        if readings:
            score = _score(readings[0][place], measure_cost(spec), theirs, challenge)
            cells.append(f"{score:.3f}" if score < 1e5 else f"{score:.1e}")
        if any(reports):
            cells += [_told(reports[place], key, digits) for key, (_, digits) in shown.items()]
        table.add_row(name, *cells)
    return table


def agreement(
    names: Sequence[str], specs: Sequence[ArchSpec], readings: Sequence[Sequence[Latency]]
) -> list[str]:
    """Say how far counts order networks as their runtimes do: Kendall's tau-b, 1 is the same order."""
    costs = [measure_cost(spec) for spec in specs]
    columns = {
        key: [float(getattr(cost, key)) for cost in costs]
        for key in ("params", "flops", "activations")
    }
    timed = {
        f"{per_mode[0].mode} runtime": [one.ratio for one in per_mode] for per_mode in readings
    }
    told = [reported(name).get("runtime_ms") for name in names]
    lines = [_order(columns, what, values) for what, values in timed.items()]
    if sum(value is not None for value in told) > 2:
        lines.append(_order(columns, "the report's runtime", told))
    return lines


def _order(columns: Mapping[str, list[float]], what: str, runtimes: Sequence[float | None]) -> str:
    from scipy.stats import kendalltau  # slow to load, and only tables of several networks need it

    there = [i for i, value in enumerate(runtimes) if value is not None]
    taus = {
        key: kendalltau([values[i] for i in there], [runtimes[i] for i in there]).statistic
        for key, values in columns.items()
    }
    words = ", ".join(f"{NAMES.get(key, key)} {tau:+.2f}" for key, tau in taus.items())
    return f"Order of {what} against that of counts, Kendall's tau-b over {len(there)} networks: {words}."


def reported(name: str) -> dict[str, float]:
    """What the challenge's report says of a network by its name here; empty where it says nothing."""
    return report(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else {}


def _told(told: Mapping[str, float], key: str, digits: int) -> str:
    return f"{told[key]:.{digits}f}" if key in told else ""


def network_table(rows: Sequence[Row], baseline: str) -> Table:
    """The rows of one network beside its baseline."""
    table = _table("", ["network", baseline, "ratio"])
    for row in rows:
        table.add_row(*row)
    return table


def layer_table(layers: Sequence[LayerCost], times: LayerTimes | None) -> tuple[Table, str]:
    """A row a layer: its counts and, where it was timed, its time; and what the times add up to."""
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("layer", "kind", "output"):
        table.add_column(head, no_wrap=True)
    heads = ["parameters", "FLOPs", "%", "activations"]
    for head in heads + ([f"ms at {times.size}", "% of the time"] if times else []):
        table.add_column(head, justify="right", no_wrap=True)
    total = sum(layer.flops for layer in layers)
    timed = {layer.name: layer for layer in times.layers} if times else {}
    for layer in layers:
        time = timed.get(layer.name)
        table.add_row(
            layer.name,
            layer.kind,
            "x".join(map(str, layer.shape)),
            f"{layer.params:,d}",
            f"{layer.flops:,d}",
            f"{layer.flops / total:.1%}" if total else "",
            f"{layer.activations:,d}",
            *([f"{time.ms:.3f}", f"{time.share:.1%} ± {time.ci:.1%}"] if time else []),
        )
    if times is None:
        return table, "The layers were not timed."
    return table, (
        f"Time: each layer of the plain network alone, in turn with the whole network at {times.size}. The "
        f"layers add up to {times.sum_ms:.3f} ms, the whole network takes {times.whole_ms:.3f} ms: between "
        "layers it also activates, adds, multiplies and concatenates, and data are in a cache or not."
    )


def notes(
    size: tuple[int, int], readings: Sequence[Sequence[Latency]], challenge: Challenge
) -> list[str]:
    """Say how the figures are meant, and what fed the score."""
    lines = [
        f"FLOPs: multiply-accumulates at 1x3x{size[0]}x{size[1]}, as activations (elements that convolutions "
        "give) and memory (peak of live tensors in a forward, float32)."
    ]
    if size != CHALLENGE_SIZE:
        lines[0] += " The challenge counts at 256x256."
    if not readings:
        return lines
    lines += [_how(per_mode) for per_mode in readings]
    if len(readings[0]) == 1:  # the table of several networks leaves it out
        lines.append(
            "First image: a network's very first forward, left out of the other figures, in a process that "
            f"may have run others before; beside it the ratio of a set of {SET_IMAGES} images with it."
        )
    first = readings[0][0]
    cpu = first.mode == "cpu"
    kind = "CPU latency" if cpu else f"GPU latency (mode {first.mode}, {first.dtype})"
    lines.append(
        f"Score: weights of {challenge.name}, lower is better; from {kind}: compare only with scores from "
        f"this machine{'' if cpu else ' and mode'}. PSNR is not measured here, so no gate is applied."
    )
    return lines


def _how(readings: Sequence[Latency]) -> str:
    """How the networks of one mode were read."""
    one = readings[0]
    cpu = one.mode == "cpu"
    on = f"{one.device}, {one.threads} thread{'s'[: one.threads > 1]}" if cpu else one.device
    sizes = one.sizes.split(",")
    rounds = _span([reading.rounds for reading in readings])
    rejected = _span([reading.rejected for reading in readings])
    words = (
        f"Latency: mode {one.mode}, {one.dtype}, LR {', '.join(sizes[:3])}"
        f"{f' and {len(sizes) - 3} more sizes' if len(sizes) > 3 else ''}, on {on}; "
        f"median of {rounds} paired rounds and its 95 % interval, {rejected} disturbed rounds set aside."
    )
    operators = sorted(
        {name for reading in readings for name in reading.operators.split(",") if name}
    )
    if operators:
        words += f" Fused operators ran: {', '.join(operators)}."
    flags = sorted({flag for reading in readings for flag in reading.flags.split(",") if flag})
    if flags:
        words += f" Flagged {', '.join(f'{flag} ({FLAGS[flag]})' for flag in flags)}."
    return words


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)} to {max(values)}"


def _ratio(reading: Latency) -> str:
    return f"{reading.ratio:.3f} ± {reading.ci:.3f}"


def _score(reading: Latency, ours: Cost, theirs: Cost, challenge: Challenge) -> float:
    """The challenge's score of ratios to the baseline, FLOPs at 256x256."""
    return challenge.score(reading.ratio, ours.flops / theirs.flops, ours.params / theirs.params)


def _table(first: str, heads: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table
