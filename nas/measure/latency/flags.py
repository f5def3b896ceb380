"""The flags of a reading: why it is not to be relied on, a word each."""

from nas.measure.latency.rounds import Reading
from nas.record import Latency


def find_faults(
    reading: Reading,
    *,
    drifted: bool,
    contaminated: bool,
    on_gpu: bool,
    target_ci: float,
    lacks_graph: bool = False,
) -> list[str]:
    """Return why a reading is not to be relied on, a word each; empty: it is.

    On a CPU that others use too, rejected rounds are the rule: more than a fifth in 9 of 12
    readings on a quiet machine, whose ratios agreed within 0.7 %. There a reading is disturbed only
    if its interval is wider than it should be as well. Where the host decides a runtime on a GPU
    (`HOST_BOUND`), ratios between networks come near to a count of their launches.

    Args:
        drifted: fixed work took another time at the end than at the start.
        contaminated: another process used the GPU.
        target_ci: half-width of the interval, relative to the ratio, that was asked for.
        lacks_graph: a network ran without the CUDA graph that its mode replays.
    """
    # Relative to the ratio, as the target is.
    is_wide = reading.ci > target_ci * reading.ratio
    holds = {
        "disturbed": reading.is_disturbed and (on_gpu or is_wide),
        "drifted": drifted,
        "contaminated": contaminated,
        "host_bound": reading.is_host_bound,
        "no_graph": lacks_graph,
    }
    return [flag for flag in holds if holds[flag]]


def split_flags(latency: Latency) -> set[str]:
    """Return the words of a latency's flags."""
    return set(latency.flags.split(",")) - {""}
