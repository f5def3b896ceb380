"""A run and its architectures in words: said once, for the page and the terminal."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

import pandas as pd

from nas.analysis.columns import GOALS
from nas.analysis.run_state import RunState
from nas.record import Latency
from search_spaces.spec import ArchSpec, BlockSpec

BASELINE_SCORE = math.exp(2)
LONGER = "search again with a longer proxy (more proxy.steps), or with a preset whose ladder was seen to pass"
NAMES = {
    "psnr_gain_db": "PSNR gain",
    "psnr_db": "PSNR",
    "runtime_ratio": "runtime ratio",
    "runtime_ms": "runtime",
    "params": "parameters",
    "flops": "FLOPs",
    "activations": "activations",
    "memory_mib": "memory",
    "num_conv": "convolutions",
    "score": "score",
}
ACTIVATIONS = {
    "relu": "ReLU",
    "silu": "SiLU",
    "gelu": "GELU",
    "leaky_relu": "leaky ReLU",
    "leaky_relu_0.1": "leaky ReLU 0.1",
    "prelu": "PReLU",
}
USUAL = {"bias": None, "kernel": 3, "activate_last": None}  # left out of the words; None: whatever the value


def column_name(column: str) -> str:
    """An objective with its unit, as an axis says it."""
    unit = GOALS[column].unit
    return NAMES.get(column, column) + ("" if unit == "1" else f" ({unit})")


def volume_unit(objectives: Sequence[str]) -> str:
    """The unit of a hypervolume of these objectives, in words."""
    shares = {"runtime_ratio": "runtime", "runtime_ms": "runtime"}
    return " × ".join(
        "dB"
        if GOALS[name].direction == "maximize"
        else f"share of the baseline's {shares.get(name, NAMES.get(name, name))}"
        for name in objectives
    )


def describe(spec: ArchSpec) -> str:
    """An architecture in a few words: its blocks in order, then what leads past them."""
    parts = [_blocks_in_words(list(group)) for _, group in groupby(spec.blocks, key=_but_channels)]
    if spec.stem is None:
        parts.append("no stem")
    fused, body = (dict(block.args).get("channels") for block in (spec.fusion, spec.blocks[-1]))
    if None not in (fused, body) and fused != body:
        parts.append(f"fused to {fused} ch")
    if spec.skip is not None:
        parts.append(f"{spec.skip.kind} skip")
    return " · ".join(parts)


def taps_in_words(spec: ArchSpec) -> str:
    return " + ".join(spec.taps)


def counts(state: RunState) -> dict[str, int]:
    """How many rows ended how, row 0 (the baseline) left out: complete, failed, rejected."""
    ends = [record.state for record in state.records if record.number != 0]
    return {name: ends.count(name) for name in ("complete", "failed", "rejected")}


def headline(state: RunState, members: pd.DataFrame) -> str:
    """One sentence for a newcomer: how many trials, how large the front, whether the proxy can rank.

    members: the front's rows.
    """
    ends = counts(state)
    trials = ends["complete"] + ends["failed"]
    if not trials:
        return f"No trial has finished yet: {_so_far(state)}. This page holds what there is."
    how = f"{_number(trials, 'architecture')} tried"
    how += f", of which {ends['failed']} failed" if ends["failed"] else ""
    top = state.yardstick.top_fidelity
    part = sum(r.quality is not None and r.quality.fidelity != top for r in state.records if r.number)
    how += f", {part} of them trained in part" if part and top else ""
    how += f" ({ends['rejected']} more rejected before training)" if ends["rejected"] else ""
    goals = [NAMES.get(name, name) for name in state.objectives]
    among_goals = " against ".join(goals) if len(goals) < 3 else f"{', '.join(goals[:-1])} and {goals[-1]}"
    among = ", the baseline among them," if (members["number"] == 0).any() else ""
    front = (
        f"{len(members)}{among} {'is' if len(members) == 1 else 'are'} on the Pareto front of {among_goals}"
    )
    return f"{how}; {front}; {_can_rank(state)}."


def verdict_words(state: RunState) -> str:
    """What the ladder says of this fidelity, and what follows from it."""
    verdict = state.verdict
    if verdict is None:
        done = len({run.rung for run in state.ladder})
        return (
            f"The ladder is not complete ({done} of 4 sizes trained), so it is not known whether this "
            "fidelity can rank. Until it passes, feasibility is unknown and best_score is refused."
        )
    if verdict.passes:
        return (
            f"The ladder passes: {verdict.reason}. So this fidelity can rank: the PSNR gate "
            f"({_gate(state)} to the reference) is applied, and best_score can be picked."
        )
    advice = str(state.settings.get("longer_proxy") or LONGER)
    return (
        f"This fidelity cannot rank architectures by PSNR: {verdict.reason}. So feasibility is unknown (no "
        "row is said to pass or fail the PSNR gate), and best_score is refused: pick knee or a trial number. "
        f"What to run instead: {advice.rstrip('.')}."
    )


def score_label(state: RunState) -> str:
    """Which latency fed the scores, and what they may be compared with; it stands wherever a score does."""
    latencies = [record.latency for record in state.records if record.latency]
    if not latencies:
        return "No latency was measured, so there is no score."
    rule = f"Score of {state.challenge.name}, lower is better, baseline {BASELINE_SCORE:.3f}"
    places = sorted({f"{latency.mode} on {latency.device}" for latency in latencies})
    if any(latency.mode.startswith("cpu") for latency in latencies):
        return f"{rule}; score from CPU latency: compare within this run only ({', '.join(places)})."
    words = f"{rule}; from latency {', '.join(places)}, as a ratio to the baseline timed beside it."
    return f"{words}{_host_words(latencies)}"


def _host_words(latencies: Sequence[Latency]) -> str:
    """How many readings the host decided, not the GPU; empty: none."""
    bound = [latency for latency in latencies if "host_bound" in latency.flags.split(",")]
    if not bound:
        return ""
    return (
        f" {len(bound)} of {_number(len(latencies), 'reading')} host_bound: to issue a forward took the host "
        "0.8 of its time on the GPU or more, so these ratios come near to one of launches; "
        "latency.mode=challenge_graph or graph takes the host out."
    )


def protocol(state: RunState) -> str:
    """How PSNR was computed; it stands beside every PSNR."""
    border = state.records[0].spec.scale if state.records else "scale"
    return (
        f"PSNR on the val set: RGB, clamped, uint8, a border of {border} pixels dropped, "
        f"mean of the per-image dB.{_lr_words(state)}"
    )


def _lr_words(state: RunState) -> str:
    """How the LR images of what is judged were made, where the run says it."""
    said = [f" LR is {words}." for role, words in state.lr_origins.items() if role == "val"]
    said += [
        f" Test set: LR is {words}."
        for role, words in state.lr_origins.items()
        if role == "test" and words != state.lr_origins.get("val")
    ]
    return "".join(said)


def gate_words(state: RunState) -> str:
    return f"gate {_gate(state)}" if state.can_rank else f"gate {_gate(state)}: not believed"


def _gate(state: RunState) -> str:
    return f"{state.challenge.gate.min_gain_db:+.2f} dB".replace("-", "−")


def _can_rank(state: RunState) -> str:
    if state.can_rank:
        return "the proxy can rank them (its ladder passes)"
    if state.verdict is None:
        return "whether the proxy can rank them is not known yet (its ladder is not complete)"
    return "the proxy cannot rank them (its ladder fails), so no score here is a best score"


def _so_far(state: RunState) -> str:
    parts = [f"{_number(len(state.ladder), 'ladder run')} of the proxy done"]
    if any(record.number == 0 and record.state == "complete" for record in state.records):
        parts.append("the baseline measured")
    if rejected := counts(state)["rejected"]:
        parts.append(f"{_number(rejected, 'proposal')} rejected")
    return ", ".join(parts)


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _but_channels(block: BlockSpec) -> tuple[object, ...]:
    return block.kind, tuple(arg for arg in block.args if arg[0] != "channels"), block.blocks


def _blocks_in_words(blocks: list[BlockSpec]) -> str:
    """Blocks that differ in channels alone: "6× spab 28 ch, parameter free attention, SiLU"."""
    channels = [dict(block.args).get("channels") for block in blocks]
    words = f"{len(blocks)}× {blocks[0].kind}" if len(blocks) > 1 else blocks[0].kind
    if None not in channels:
        widths = channels if len(set(channels)) > 1 else channels[:1]
        words += f" {'-'.join(map(str, widths))} ch"
    if inside := blocks[0].blocks:
        words += f" of {' and '.join(f'{block.kind} {_width(block)}'.strip() for block in inside)}"
    return ", ".join([words, *_arguments(blocks[0])])


def _width(block: BlockSpec) -> str:
    channels = dict(block.args).get("channels")
    return "" if channels is None else f"{channels} ch"


def _arguments(block: BlockSpec) -> Iterator[str]:
    for name, value in block.args:
        if name == "channels" or (name in USUAL and USUAL[name] in (None, value)):
            continue
        if name == "attention":
            yield "no attention" if value == "none" else f"{str(value).replace('_', '-')} attention"
        elif name == "activation":
            yield ACTIVATIONS.get(str(value), str(value))
        elif isinstance(value, bool):
            yield name if value else f"no {name}"
        else:
            yield f"{name} {value}"
