"""The tables and lines that nas evaluate prints."""

import math

from rich import box
from rich.table import Table

from nas.commands.evaluation.rows import RUNTIME_PROTOCOL, SetResult
from nas.commands.evaluation.standing import COST_PROTOCOL, Standing
from nas.measure.quality import PROTOCOL, PROTOCOL_Y
from nas.measure.structure import SSIM_PROTOCOL


def make_table(images: SetResult) -> Table:
    """Return a table of an image a row, with the means below."""
    # An image equal to its target has an infinite PSNR, and so has the mean.
    count = f"{len(images.rows)} image{'s'[: len(images.rows) != 1]}"
    table = Table(
        title=f"data.{images.role}, {count}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=True,
    )
    table.add_column("image", footer="mean", overflow="fold")
    table.add_column("LR", justify="right", no_wrap=True)

    # Both protocols stand in the heads: the two differ by about 1.8 dB.
    feet = {
        "PSNR dB (RGB, challenge)": _format_db(images.mean_psnr_db),
        "PSNR dB (Y, papers)": _format_db(images.mean_psnr_y_db),
        "SSIM (RGB)": _format_number(images.mean_ssim, 4),
        "SSIM (Y)": _format_number(images.mean_ssim_y, 4),
    }
    is_timed = images.first_ms is not None
    if is_timed:
        feet["ms"] = _format_number(images.runtime_ms, 2)
    for head, foot in feet.items():
        table.add_column(head, footer=foot, justify="right")

    for row in images.rows:
        cells = [
            _format_db(row.psnr_db),
            _format_db(row.psnr_y_db),
            _format_number(row.ssim, 4),
            _format_number(row.ssim_y, 4),
        ]
        cells += [_format_number(row.runtime_ms, 2)] if is_timed else []
        table.add_row(row.image, f"{row.height}x{row.width}", *cells)

    return table


def describe_runtime(images: SetResult) -> list[str]:
    """Return the line on the runtime over a set; none where it was not timed."""
    if images.runtime_ms is None or images.first_ms is None:
        return []
    others = len(images.rows) - 1
    memory = f"; peak memory {images.peak_mib:,.0f} MiB" if images.peak_mib is not None else ""
    return [
        f"Runtime on data.{images.role}: first image {images.first_ms:.2f} ms, mean of the other "
        f"{others} {images.runtime_ms:.2f} ms, of all {images.runtime_with_first_ms:.2f} ms{memory}."
    ]


def describe_gates(images: SetResult, standing: Standing) -> str:
    """Return the line on how far a mean PSNR is from both gates of the challenge."""
    gate, margins = standing.challenge.gate, standing.margins(images.mean_psnr_db)
    if not math.isfinite(images.mean_psnr_db):
        return f"Gates of {standing.challenge.name}: the images equal their targets."
    return (
        f"Gates of {standing.challenge.name}: {margins['valid']:+.4f} dB to {gate.valid_db:g} "
        f"(DIV2K_LSDIR_valid), {margins['test']:+.4f} dB to {gate.test_db:g} (DIV2K_LSDIR_test), "
        f"of which {gate.tolerance_db:g} dB are tolerated; they hold on these two sets alone."
    )


def make_standing_table(standing: Standing) -> Table:
    """Return a table of what the network and the baseline cost, and of the score."""
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("", "this network", standing.baseline, "ratio"):
        table.add_column(head, justify="left" if not head else "right")

    ours, theirs = standing.cost, standing.base_cost
    rows = [
        ("parameters", ours.params, theirs.params, ",d"),
        ("FLOPs", ours.flops, theirs.flops, ",d"),
        ("activations", ours.activations, theirs.activations, ",d"),
        ("convolutions", ours.num_conv, theirs.num_conv, ",d"),
        ("memory MiB", ours.memory_mib, theirs.memory_mib, ",.2f"),
    ]
    for name, a, b, form in rows:
        table.add_row(name, f"{a:{form}}", f"{b:{form}}", f"{a / b:.3f}" if b else "")

    latency = standing.latency
    if latency is not None and standing.score is not None:
        table.add_row(
            "runtime ms (paired)",
            f"{latency.runtime_ms:.2f}",
            f"{latency.baseline_ms:.2f}",
            f"{latency.ratio:.3f} +- {latency.ci:.3f}",
        )
        base_score = standing.challenge.score(1, 1, 1)
        table.add_row("score", f"{standing.score:.4f}", f"{base_score:.4f}", "")
    return table


def describe_conventions(standing: Standing) -> list[str]:
    """Return lines on how the figures are meant."""
    lines = [f"{PROTOCOL}.", f"{PROTOCOL_Y}.", f"{SSIM_PROTOCOL}.", f"{COST_PROTOCOL}."]
    latency = standing.latency
    if latency is None:
        return [*lines, "No score: it needs the runtime, which timing=true takes."]
    flags = f", flagged {latency.flags}" if latency.flags else ""
    return [
        *lines,
        f"{RUNTIME_PROTOCOL}.",
        f"Score: weights of {standing.challenge.name}, lower is better; from the paired runtime of "
        f"both networks in this run: mode {latency.mode}, {latency.dtype}, LR {latency.sizes}, on "
        f"{latency.device}, {latency.rounds} rounds{flags}. Compare only with scores from this "
        "machine.",
    ]


def _format_db(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "equal"


def _format_number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
