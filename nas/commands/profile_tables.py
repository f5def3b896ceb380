"""The tables of `nas profile`."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from nas.commands.profile_notes import reported
from nas.measure.cost import CHALLENGE_SIZE, LayerCost, measure_cost, training_params
from nas.measure.latency.layers import LayerTime, LayerTimes
from nas.record import Cost, Latency
from nas.score import Challenge
from search_spaces import ArchSpec

Row = tuple[str, ...]  # name, this network, the baseline, the ratio
REPORTED = {  # of the challenge's table: heads, and digits as printed
    "runtime_ms": ("report ms", 2),
    "flops_g": ("GFLOPs", 2),
    "psnr_test_db": ("test dB", 2),
}
LARGEST_PLAIN_SCORE = 1e5  # larger ones are printed with an exponent


def counts(spec: ArchSpec, base: ArchSpec, size: tuple[int, int]) -> list[Row]:
    """Return the rows of what is counted.

    Args:
        size: height and width of the LR image.
    """
    # Training forms are shown for those who know a network by that number; they never score.
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
        # A baseline may have none of something: then there is no ratio.
        (name, f"{a:{form}}", f"{b:{form}}", f"{a / b:.3f}" if b else "")
        for name, a, b, form in rows
    ]


def runtimes(
    readings: Sequence[Latency], spec: ArchSpec, base: ArchSpec, challenge: Challenge
) -> list[Row]:
    """Return the rows of what is timed, for each mode, and of the score from the first one."""
    rows: list[Row] = []
    for reading in readings:
        mode = f" {reading.mode}" if len(readings) > 1 else ""
        times = f"{reading.runtime_ms:.3f}", f"{reading.baseline_ms:.3f}"
        rows.append((f"latency{mode} ms", *times, _format_ratio(reading)))
        # Not every reading has these: on a CPU no host issues work to another device.
        if reading.ratio_with_first is not None:
            firsts = f"{reading.first_ms:.3f}", f"{reading.baseline_first_ms:.3f}"
            rows.append(("  first image", *firsts, f"{reading.ratio_with_first:.3f} with it"))
        if reading.host_ms is not None:
            hosts = f"{reading.host_ms:.3f}", f"{reading.baseline_host_ms:.3f}"
            rows.append(("  of it issuing", *hosts, "host time of a forward, beside the GPU's"))

    score = _score_latency(readings[0], measure_cost(spec), measure_cost(base), challenge)
    return [*rows, ("score", f"{score:.3f}", f"{challenge.score(1, 1, 1):.3f}", "")]


def report_rows(name: str, baseline: str) -> list[Row]:
    """Return the rows of the challenge's report on a network, beside those of the baseline."""
    ours, theirs = reported(name), reported(baseline)

    # One network has room for the report's parameters too; several have them as counts.
    rows = {"params_m": ("M parameters", 3)} | REPORTED
    return [
        (
            f"report: {head.removeprefix('report ')}",
            _format_reported(ours, key, digits),
            _format_reported(theirs, key, digits),
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
    """Return a table of a network a row.

    Args:
        readings: for each mode the latencies of the networks.
        size: height and width of the LR image.
    Raises:
        ValueError: a network does not run at this size.
    """
    # The report's FLOPs are of the challenge's size: beside others they would mislead.
    reports = [reported(name) for name in names]
    columns = dict(REPORTED) if any(reports) else {}
    if size != CHALLENGE_SIZE:
        columns.pop("flops_g", None)

    # Two columns for each mode, then one score, from the first mode.
    heads = ["parameters", "GFLOPs", "M activations", "memory MiB"]
    for per_mode in readings:
        heads += [f"{per_mode[0].mode} ms", "ratio"]
    heads += ["score"] if readings else []
    table = _make_table("network", heads + [head for head, _ in columns.values()])

    # The score takes counts at 256x256, whatever size is shown.
    theirs = measure_cost(base)
    for place, (name, spec) in enumerate(zip(names, specs, strict=True)):
        cells = _count_cells(name, spec, size)
        for per_mode in readings:
            cells += [f"{per_mode[place].runtime_ms:.2f}", _format_ratio(per_mode[place])]
        if readings:
            score = _score_latency(readings[0][place], measure_cost(spec), theirs, challenge)
            cells.append(f"{score:.3f}" if score < LARGEST_PLAIN_SCORE else f"{score:.1e}")
        cells += [
            _format_reported(reports[place], key, digits) for key, (_, digits) in columns.items()
        ]
        table.add_row(name, *cells)

    return table


def _count_cells(name: str, spec: ArchSpec, size: tuple[int, int]) -> list[str]:
    """Return a network's counts as the comparison shows them.

    Raises:
        ValueError: it does not run at this size.
    """
    # Some networks need sizes that their windows divide.
    try:
        cost = measure_cost(spec, size=size)
    except ValueError as error:
        raise ValueError(f"size=[{size[0]},{size[1]}], {name}: {error}") from None

    return [
        f"{cost.params:,d}",
        f"{cost.flops / 1e9:.3f}",
        f"{cost.activations / 1e6:.2f}",
        f"{cost.memory_mib:,.2f}",
    ]


def network_table(rows: Sequence[Row], baseline: str) -> Table:
    """Return a table of one network beside its baseline."""
    table = _make_table("", ["network", baseline, "ratio"])
    for row in rows:
        table.add_row(*row)
    return table


def layer_table(layers: Sequence[LayerCost], times: LayerTimes | None) -> tuple[Table, str]:
    """Return a table of a layer a row, and a line on what the times add up to.

    Args:
        times: of the layers; None: they were not timed.
    """
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("layer", "kind", "output"):
        table.add_column(head, no_wrap=True)

    # The share of FLOPs stands beside the share of time: the two often disagree.
    heads = ["parameters", "FLOPs", "%", "activations"]
    for head in heads + ([f"ms at {times.size}", "% of the time"] if times else []):
        table.add_column(head, justify="right", no_wrap=True)

    # A module that computes beside its children has counts and no time of its own.
    total = sum(layer.flops for layer in layers)
    by_name = {layer.name: layer for layer in times.layers} if times else {}
    for layer in layers:
        table.add_row(*_layer_cells(layer, total, by_name.get(layer.name)))
    if times is None:
        return table, "The layers were not timed."
    return table, (
        "Time: each layer of the plain network alone, in turn with the whole network at "
        f"{times.size}. The layers add up to {times.sum_ms:.3f} ms, the whole network takes "
        f"{times.whole_ms:.3f} ms: between layers it also activates, adds, multiplies and "
        "concatenates, and data are in a cache or not."
    )


def _layer_cells(layer: LayerCost, total_flops: int, time: LayerTime | None) -> list[str]:
    cells = [
        layer.name,
        layer.kind,
        "x".join(map(str, layer.shape)),
        f"{layer.params:,d}",
        f"{layer.flops:,d}",
        f"{layer.flops / total_flops:.1%}" if total_flops else "",
        f"{layer.activations:,d}",
    ]
    return cells + ([f"{time.ms:.3f}", f"{time.share:.1%} ± {time.ci:.1%}"] if time else [])


def _format_reported(figures: Mapping[str, float], key: str, digits: int) -> str:
    return f"{figures[key]:.{digits}f}" if key in figures else ""


def _format_ratio(reading: Latency) -> str:
    return f"{reading.ratio:.3f} ± {reading.ci:.3f}"


def _score_latency(reading: Latency, ours: Cost, theirs: Cost, challenge: Challenge) -> float:
    """Return the challenge's score of ratios to the baseline; costs are those at 256x256."""
    return challenge.score(reading.ratio, ours.flops / theirs.flops, ours.params / theirs.params)


def _make_table(first: str, heads: Sequence[str]) -> Table:
    """Return an empty table with one column of names and columns of figures."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table
