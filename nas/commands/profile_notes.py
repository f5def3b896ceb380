"""The words below the tables of `nas profile`: how their figures are meant."""

from collections.abc import Mapping, Sequence

from nas.commands.architectures import PREFIX
from nas.measure.cost import CHALLENGE_SIZE, measure_cost
from nas.record import SET_IMAGES, Latency
from nas.report.words import NAMES
from nas.score import Challenge
from search_spaces import ArchSpec
from search_spaces.published import report

MAX_NAMED_SIZES = 3  # further ones are counted
REPORT_NOTE = (
    "Report: the table of results of NTIRE 2026 Efficient SR as printed; ms are means of two sets "
    "of images on an RTX A6000, test dB is RGB PSNR on DIV2K_LSDIR_test."
)
FLAGS = {
    "disturbed": "more than a fifth of the rounds were, on a CPU with too wide an interval",
    "drifted": "fixed work took another time at the end than at the start",
    "contaminated": "another process computed on the GPU",
    "host_bound": (
        "the host issued a network in 0.8 of its time or more: ratios come near to one of launches"
    ),
    "no_graph": "a CUDA graph could not be captured: kernels were launched one by one",
}


def notes(
    size: tuple[int, int], readings: Sequence[Sequence[Latency]], challenge: Challenge
) -> list[str]:
    """Return lines on how the figures are meant, and on what the score was computed from.

    Args:
        size: height and width at which was counted.
        readings: for each mode the latencies of the networks.
    """
    lines = [
        f"FLOPs: multiply-accumulates at 1x3x{size[0]}x{size[1]}, as activations (elements that "
        "convolutions give) and memory (peak of live tensors in a forward, float32)."
    ]
    if size != CHALLENGE_SIZE:
        lines[0] += " The challenge counts at 256x256."
    if not readings:
        return lines

    lines += [_describe_mode(per_mode) for per_mode in readings]
    if len(readings[0]) == 1:  # the table of several networks has no such row
        lines.append(
            "First image: a network's very first forward, left out of the other figures, in a "
            "process that may have run others before; beside it the ratio of a set of "
            f"{SET_IMAGES} images with it."
        )

    # A score is worth something beside others of its own kind alone.
    first = readings[0][0]

    # Ratios of a GPU depend on the mode as well.
    on_cpu = first.mode == "cpu"
    kind = "CPU latency" if on_cpu else f"GPU latency (mode {first.mode}, {first.dtype})"
    lines.append(
        f"Score: weights of {challenge.name}, lower is better; from {kind}: compare only with "
        f"scores from this machine{'' if on_cpu else ' and mode'}. "
        "PSNR is not measured here, so no gate is applied."
    )
    return lines


def agreement(
    names: Sequence[str], specs: Sequence[ArchSpec], readings: Sequence[Sequence[Latency]]
) -> list[str]:
    """Return lines on how far counts order networks as their runtimes do.

    The measure is Kendall's tau-b: 1 is the same order, -1 the opposite one.
    """
    costs = [measure_cost(spec) for spec in specs]
    columns = {
        key: [float(getattr(cost, key)) for cost in costs]
        for key in ("params", "flops", "activations")
    }

    lines = []
    for per_mode in readings:
        ratios = [latency.ratio for latency in per_mode]
        lines.append(_describe_order(columns, f"{per_mode[0].mode} runtime", ratios))

    # Two networks have an order, three have one that can agree by more than chance.
    report_ms = [reported(name).get("runtime_ms") for name in names]
    if sum(value is not None for value in report_ms) > 2:
        lines.append(_describe_order(columns, "the report's runtime", report_ms))
    return lines


def reported(name: str) -> dict[str, float]:
    """Return the figures of the challenge's report on a network; empty where it has none."""
    return report(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else {}


def _describe_order(
    columns: Mapping[str, list[float]], what: str, runtimes: Sequence[float | None]
) -> str:
    """Return a line on how each column orders networks as runtimes do; None has no place in it."""
    from scipy.stats import kendalltau  # slow to load, and only tables of several networks need it

    # Some networks have no published runtime: they are left out of both orders.
    places = [place for place, value in enumerate(runtimes) if value is not None]
    taus = {}
    for key, values in columns.items():
        pairs = [values[i] for i in places], [runtimes[i] for i in places]
        taus[key] = kendalltau(*pairs).statistic

    words = ", ".join(f"{NAMES.get(key, key)} {tau:+.2f}" for key, tau in taus.items())
    return (
        f"Order of {what} against that of counts, Kendall's tau-b over {len(places)} networks: "
        f"{words}."
    )


def _describe_mode(readings: Sequence[Latency]) -> str:
    """Return how the networks of one mode were read, and the flags that they bear."""
    # Mode, precision, sizes and device are the same for all readings of a mode.
    first = readings[0]

    # On a GPU the number of threads plays no part.
    threads = f", {first.threads} thread{'s'[: first.threads > 1]}" if first.mode == "cpu" else ""
    sizes = first.sizes.split(",")
    more = len(sizes) - MAX_NAMED_SIZES
    rounds = _format_range([reading.rounds for reading in readings])
    rejected = _format_range([reading.rejected for reading in readings])
    words = (
        f"Latency: mode {first.mode}, {first.dtype}, LR {', '.join(sizes[:MAX_NAMED_SIZES])}"
        f"{f' and {more} more sizes' if more > 0 else ''}, on {first.device}{threads}; "
        f"median of {rounds} paired rounds and its 95 % interval, "
        f"{rejected} disturbed rounds set aside."
    )

    # What holds for one network of the mode is said once for all.
    operators = {name for reading in readings for name in reading.operators.split(",") if name}

    # Which fused operators ran shows whether a fast path was taken.
    if operators:
        words += f" Fused operators ran: {', '.join(sorted(operators))}."
    flags = {flag for reading in readings for flag in reading.flags.split(",") if flag}
    if flags:
        words += f" Flagged {', '.join(f'{flag} ({FLAGS[flag]})' for flag in sorted(flags))}."
    return words


def _format_range(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)} to {max(values)}"
