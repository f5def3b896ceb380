"""A run and its architectures in words, the same on the page and in the terminal."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

import pandas as pd

from nas.analysis.columns import BY_NAME, COLUMNS, GOALS
from nas.analysis.ladder import MIN_SPREAD_GATES, MIN_SPREAD_SEEDS, Verdict
from nas.analysis.longer_ladder import list_longer_sizes
from nas.analysis.run_state import RunState
from nas.record import Latency
from nas.report.lasting_words import LASTING_DATA, lasting_words
from search_spaces.spec import ArchSpec, BlockSpec

BASELINE_SCORE = math.exp(2)
LONGER = (
    "search again with a longer proxy (more proxy.steps), or with a preset whose ladder was seen "
    "to pass"
)
NAMES = {column.name: column.words for column in COLUMNS}
ACTIVATIONS = {
    "relu": "ReLU",
    "silu": "SiLU",
    "gelu": "GELU",
    "leaky_relu": "leaky ReLU",
    "leaky_relu_0.1": "leaky ReLU 0.1",
    "prelu": "PReLU",
}
# Arguments that the words leave out at this value; None: at any.
USUAL = {"bias": None, "kernel": 3, "activate_last": None}


def column_name(column: str) -> str:
    """Return a column's title with its unit, as an axis says it.

    Example:
        >>> column_name("flops")
        'FLOPs (MAC)'
    """
    return BY_NAME[column].label


def volume_unit(objectives: Sequence[str]) -> str:
    """Return the unit of a hypervolume of these objectives, in words.

    Example:
        >>> volume_unit(["psnr_gain_db", "runtime_ratio"])
        "dB × share of the baseline's runtime"
    """
    shares = NAMES | {"runtime_ratio": "runtime"}  # a ratio is itself a share
    return " × ".join(
        BY_NAME[name].unit
        if GOALS[name].direction == "maximize"
        else f"share of the baseline's {shares[name]}"
        for name in objectives
    )


def describe(spec: ArchSpec) -> str:
    """Return an architecture in a few words: its blocks in order, then what leads past them."""
    # Blocks in a row that differ in channels alone are named once, with their number.
    parts = [
        _describe_blocks(list(group)) for _, group in groupby(spec.blocks, key=_ignore_channels)
    ]
    if spec.stem is None:
        parts.append("no stem")

    # A fusion as wide as the last block is the usual case, and is not named.
    fused, body = (dict(block.args).get("channels") for block in (spec.fusion, spec.blocks[-1]))
    if None not in (fused, body) and fused != body:
        parts.append(f"fused to {fused} ch")
    if spec.skip is not None:
        parts.append(f"{spec.skip.kind} skip")
    return " · ".join(parts)


def taps_in_words(spec: ArchSpec) -> str:
    """Return the features that the fusion reads: "stem + block7"."""
    return " + ".join(spec.taps)


def counts(state: RunState) -> dict[str, int]:
    """Count the rows that are complete, failed and rejected; row 0, the baseline, is no trial."""
    ends = [record.state for record in state.records if record.number != 0]
    return {name: ends.count(name) for name in ("complete", "failed", "rejected")}


def headline(state: RunState, members: pd.DataFrame) -> str:
    """Return one sentence for a newcomer: trials, size of the front, whether the proxy can rank.

    Args:
        members: the front's rows.
    """
    ends = counts(state)
    num_trials = ends["complete"] + ends["failed"]
    if not num_trials:
        return f"No trial has finished yet: {_list_progress(state)}. This page holds what there is."

    # From how much was tried, over what it gave, to whether it can be believed.
    tried = f"{_count_noun(num_trials, 'architecture')} tried"
    if ends["failed"]:
        tried += f", of which {ends['failed']} failed"
    if num_paused := _count_paused(state):
        tried += f", {num_paused} of them trained in part"
    if ends["rejected"]:
        tried += f" ({ends['rejected']} more rejected before training)"

    baseline = ", the baseline among them," if (members["number"] == 0).any() else ""
    verb = "is" if len(members) == 1 else "are"
    goals = _join_goals([NAMES[name] for name in state.objectives])
    front = f"{len(members)}{baseline} {verb} on the Pareto front of {goals}"
    return f"{tried}; {front}; {_say_whether_it_ranks(state)}."


def _count_paused(state: RunState) -> int:
    """Count the trials whose training ended at a rung, before the last step."""
    top = state.yardstick.top_fidelity
    if top is None:
        return 0
    return sum(
        record.number != 0 and record.quality is not None and record.quality.fidelity != top
        for record in state.records
    )


def _join_goals(goals: Sequence[str]) -> str:
    if len(goals) < 3:
        return " against ".join(goals)
    return f"{', '.join(goals[:-1])} and {goals[-1]}"


def verdict_words(state: RunState) -> str:
    """Say what the ladder found of this fidelity, how far the data last, and what follows."""
    verdict = state.verdict
    if verdict is None:
        # Until the ladder is complete nothing is said of what the proxy can do.
        return (
            f"The ladder is not complete ({_count_ladder(state)}), so it is not known "
            "whether this fidelity can rank. Until it passes, feasibility is unknown and "
            "best_score is refused."
        )

    if verdict.passes:
        return (
            f"The ladder passes: {verdict.reason}. So this fidelity can rank: the PSNR gate "
            f"({_write_gate(state)} to the reference) is applied, and best_score can be picked. "
            f"{lasting_words(state)}"
        )

    return (
        f"This fidelity cannot rank architectures by PSNR: {verdict.reason}. So feasibility is "
        "unknown (no row is said to pass or fail the PSNR gate), and best_score is refused: pick "
        f"knee or a trial number. {lasting_words(state)} "
        f"What to run instead: {_advise(state, verdict).rstrip('.')}."
    )


def _advise(state: RunState, verdict: Verdict) -> str:
    """Say what to search with instead of a fidelity that cannot rank."""
    # Where the data are used up longer trainings are worse, not better.
    if verdict.lasting is not None and verdict.lasting.is_used_up:
        lasting = verdict.lasting
        is_covered = lasting.covers(state.yardstick.top_fidelity or 0)
        # At the first reading it is not known whether that was too late already.
        if is_covered or lasting.gains_until == lasting.readings[0][0]:
            return LASTING_DATA
        return f"{LASTING_DATA}, or at most {lasting.gains_until:,} proxy.steps"

    # A preset may know a longer proxy whose ladder was seen to pass.
    advice = str(state.settings.get("longer_proxy") or LONGER)
    std = verdict.seed_std_db
    is_narrow = verdict.spread_db < MIN_SPREAD_GATES * verdict.gate_db
    is_sure = std is not None and verdict.spread_db >= MIN_SPREAD_SEEDS * std
    if verdict.in_order and is_sure and is_narrow:
        # Only the gate is too wide for what the sizes spread over.
        widest = verdict.spread_db / MIN_SPREAD_GATES
        advice = (
            f"a gate of at most {widest:.2f} dB below the reference "
            f"(challenge.gate.min_gain_db), or {advice}"
        )
    return advice


def _count_ladder(state: RunState) -> str:
    """Say how much of the ladder is there."""
    if state.brief_verdict is None:
        return f"{len({run.rung for run in state.ladder})} of 4 sizes trained"
    sizes = list_longer_sizes(state.brief_verdict, state.rungs)
    done = len({run.rung for run in state.longer_ladder} & {*sizes})
    return f"{done} of {len(sizes)} sizes trained for {state.longer_plan.steps:,} steps"


def score_label(state: RunState) -> str:
    """Say which latency fed the scores, and what they may be compared with.

    It stands wherever a score does.
    """
    latencies = [record.latency for record in state.records if record.latency]
    if not latencies:
        return "No latency was measured, so there is no score."

    rule = f"Score of {state.challenge.name}, lower is better, baseline {BASELINE_SCORE:.3f}"

    # A CPU's ratios are not those of a GPU: such a score never stands beside published ones.
    places = sorted({f"{latency.mode} on {latency.device}" for latency in latencies})
    if any(latency.mode.startswith("cpu") for latency in latencies):
        where = ", ".join(places)
        return f"{rule}; score from CPU latency: compare within this run only ({where})."

    words = f"{rule}; from latency {', '.join(places)}, as a ratio to the baseline timed beside it."
    return f"{words}{_warn_of_host(latencies)}"


def _warn_of_host(latencies: Sequence[Latency]) -> str:
    """Count the readings that the host decided, not the GPU; empty: none."""
    bound = [latency for latency in latencies if "host_bound" in latency.flags.split(",")]
    if not bound:
        return ""
    return (
        f" {len(bound)} of {_count_noun(len(latencies), 'reading')} host_bound: to issue a forward "
        "took the host 0.8 of its time on the GPU or more, so these ratios come near to one of "
        "launches; latency.mode=challenge_graph or graph takes the host out."
    )


def protocol(state: RunState) -> str:
    """Say how PSNR was computed; it stands beside every PSNR."""
    border = state.records[0].spec.scale if state.records else "scale"
    return (
        f"PSNR on the val set: RGB, clamped, uint8, a border of {border} pixels dropped, "
        f"mean of the per-image dB.{_describe_lr(state)}"
    )


def _describe_lr(state: RunState) -> str:
    """Say how the LR images of val and test were made, where the run knows it."""
    # Both are named only where they differ.
    val, test = (state.lr_origins.get(role) for role in ("val", "test"))
    words = f" LR is {val}." if val is not None else ""
    if test is not None and test != val:
        words += f" Test set: LR is {test}."
    return words


def gate_words(state: RunState) -> str:
    """Return the PSNR gate, and whether it is believed."""
    # A gate that is not believed is drawn, and applied to nothing.
    gate = f"gate {_write_gate(state)}"
    return gate if state.can_rank else f"{gate}: not believed"


def _write_gate(state: RunState) -> str:
    return f"{state.challenge.gate.min_gain_db:+.2f} dB".replace("-", "−")


def _say_whether_it_ranks(state: RunState) -> str:
    if state.can_rank:
        return "the proxy can rank them (its ladder passes)"
    if state.verdict is None:
        return "whether the proxy can rank them is not known yet (its ladder is not complete)"
    lasting = state.verdict.lasting
    why = "its ladder fails"
    if lasting is not None and lasting.is_used_up:
        why += f"; the data are used up after {lasting.gains_until:,} steps"
    return f"the proxy cannot rank them ({why}), so no score here is a best score"


def _list_progress(state: RunState) -> str:
    """Say what is done before the first trial has finished."""
    parts = [f"{_count_noun(len(state.ladder), 'ladder run')} of the proxy done"]
    if any(record.number == 0 and record.state == "complete" for record in state.records):
        parts.append("the baseline measured")
    if rejected := counts(state)["rejected"]:
        parts.append(f"{_count_noun(rejected, 'proposal')} rejected")
    return ", ".join(parts)


def _count_noun(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _ignore_channels(block: BlockSpec) -> tuple[object, ...]:
    """Return what blocks have in common that differ in channels alone."""
    return block.kind, tuple(arg for arg in block.args if arg[0] != "channels"), block.blocks


def _describe_blocks(blocks: list[BlockSpec]) -> str:
    """Describe blocks that differ in channels alone: "6× spab 28 ch, SiLU"."""
    # Channels that differ are listed in order: "3× spab 16-24-16 ch".
    channels = [dict(block.args).get("channels") for block in blocks]
    words = f"{len(blocks)}× {blocks[0].kind}" if len(blocks) > 1 else blocks[0].kind
    if None not in channels:
        widths = channels if len(set(channels)) > 1 else channels[:1]
        words += f" {'-'.join(map(str, widths))} ch"
    if inside := blocks[0].blocks:
        parts = [f"{block.kind} {_write_width(block)}".strip() for block in inside]
        words += f" of {' and '.join(parts)}"
    return ", ".join([words, *_describe_arguments(blocks[0])])


def _write_width(block: BlockSpec) -> str:
    channels = dict(block.args).get("channels")
    return "" if channels is None else f"{channels} ch"


def _describe_arguments(block: BlockSpec) -> Iterator[str]:
    """Yield a block's arguments in words, but for those that are as usual."""
    # A flag is named by itself, other arguments with their value.
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
