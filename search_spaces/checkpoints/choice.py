"""Choose among the state dicts in a checkpoint: the one that fits, averages before raw weights."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from search_spaces.checkpoints.entries import DEPTH, WRAPPING, Entry, list_names, split_entry_state
from search_spaces.checkpoints.key_names import shorten_name
from search_spaces.checkpoints.state_dict import misfit

PREFIXES = (  # that wrapping modules put before all names
    *("module", "_orig_mod", "model", "net", "net_g", "netG", "network", "generator"),
    *("ema", "ema_model", "generator_ema", "net_g_ema", "params_ema"),
)
_OTHER_NETWORK = re.compile(
    r"(?<![a-z])(net)?_?(d|disc[a-z]*|critic)(?![a-z])"
)  # a GAN's other half


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Return whether a state dict fits: how many of its names are known, and what does not fit."""

    num_known: int
    faults: tuple[str, ...]
    result: Any = field(default=None, compare=False)


UNNAMED = Verdict(num_known=0, faults=("tensors without names",))


class MisfitError(ValueError):
    """Raised where no state dict of a file fits."""


Judge = Callable[[Mapping[str, Tensor]], Verdict]
Judged = tuple[Entry, Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The state dict that is meant, its verdict, and the names of those that were passed over."""

    entry: Entry
    verdict: Verdict
    passed_over: tuple[str, ...]

    def describe(self, source: str) -> str:
        """Say which entry of a file was read, and what was not."""
        text = f"entry {list_names([self.entry.name])} of {source}" if self.entry.name else source
        if self.passed_over:
            text += f"; passed over: {list_names(self.passed_over)}"
        return text + (
            f"; left out: {list_names(self.entry.dropped)}" if self.entry.dropped else ""
        )


def choose_entry(entries: list[Entry], judge: Judge, source: str, asked: str | None) -> Choice:
    """Return the state dict that fits, an averaged one before a raw one.

    Args:
        judge: says of a state dict whether it fits.
        source: the file, for messages.
        asked: the name of the entry that the user chose, as in FILE:ENTRY.
    Raises:
        ValueError: none fits, or more than one does, or averages do not where raw weights do.
    """
    asked = _normalise_name(asked)
    tried = [judged for entry in entries for judged in _judge_within(entry, judge, asked, DEPTH)]
    if not tried:
        names = list_names(dict.fromkeys(entry.name or "the file itself" for entry in entries))
        what = "no tensors under names" if asked is None else f"no entry {asked!r}"
        raise ValueError(f"weights: {source} holds {what}; its entries: {names or 'none'}")

    fitting = [judged for judged in tried if not judged[1].faults]
    if not fitting:
        raise MisfitError(_describe_misfit(tried, source))
    if asked is None:
        _check_averages(fitting, tried, source)
    # An average is what its authors tested; raw weights are taken where there is none.
    averaged = [judged for judged in fitting if judged[0].is_averaged]
    candidates = _drop_duplicates(averaged or fitting)
    if len(candidates) > 1:
        held = [entry.name or "the file itself" for entry, _ in candidates]
        ways = [f"weights=FILE:{shorten_name(entry.name)}" for entry, _ in candidates[:2]]
        more = " or another of them" if len(candidates) > 2 else ""
        raise ValueError(
            f"weights: {source} holds {len(candidates)} entries that fit: {list_names(held)}; name "
            f"one: {' or '.join(ways)}{more}"
        )
    entry, verdict = candidates[0]
    return Choice(entry=entry, verdict=verdict, passed_over=_list_passed_over(entry, entries))


def pick_entry(entries: list[Entry], source: str, asked: str | None) -> Entry:
    """Return the state dict that is meant where no network says what fits, without usual prefixes.

    Raises:
        ValueError: there is none of the name that is asked, or several remain.
    """

    def judge(state: Mapping[str, Tensor]) -> Verdict:
        # What wrapping modules put in front tells nothing: look below it first.
        prefixed = {key.partition(".")[0] for key in state} <= set(PREFIXES)
        return Verdict(num_known=0, faults=("a prefix",) if prefixed else ())

    largest = [entry for entry in entries if entry.holds_kernels] or entries
    return choose_entry(largest, judge, source, asked).entry


def _judge_within(entry: Entry, judge: Judge, asked: str | None, depth: int) -> list[Judged]:
    """Judge a state dict as it is; if it does not fit, its parts under prefixes, to some depth."""
    tried: list[Judged] = []
    if asked is None or f"{entry.name}.".startswith(f"{asked}."):
        tried.append((entry, judge(entry.state) if entry.has_names else UNNAMED))
        if not tried[0][1].faults:
            return tried

    for part in split_entry_state(entry) if depth and entry.has_names else []:
        if part.holds_kernels or not entry.holds_kernels:
            tried += _judge_within(part, judge, asked, depth - 1)
    return tried


def _check_averages(fitting: list[Judged], tried: list[Judged], source: str) -> None:
    """Refuse to take raw weights in silence where averages of them do not fit.

    Raises:
        ValueError: there are such; the message names them, what is wrong, and both ways out.
    """
    if any(entry.is_averaged for entry, _ in fitting):
        return

    # A GAN's other half is averaged too; it never fits, and is not missed.
    for entry, verdict in tried:
        if (
            entry.is_averaged
            and entry.holds_kernels
            and not _OTHER_NETWORK.search(entry.name.lower())
        ):
            raw = fitting[0][0].name
            raise ValueError(
                f"weights: {source} holds averaged weights under {shorten_name(entry.name)} "
                f"that do not fit ({verdict.faults[0]}) beside raw ones that do; "
                f"weights=FILE:{shorten_name(raw)} takes those"
            )


def _describe_misfit(tried: list[Judged], source: str) -> str:
    """Say what does not fit in the state dict that comes closest."""
    entry, verdict = max(tried, key=lambda judged: (judged[1].num_known, judged[0].is_averaged))
    several = len({entry.place[:1] for entry, _ in tried if entry.holds_kernels}) > 1
    named = f"entry {shorten_name(entry.name)} of {source}" if several and entry.name else source
    return misfit(verdict.faults, named)


def _drop_duplicates(fitting: list[Judged]) -> list[Judged]:
    """Return state dicts without those that hold the numbers of one before them."""
    kept: list[Judged] = []
    for entry, verdict in fitting:
        if not any(_is_equal(entry.state, other.state) for other, _ in kept):
            kept.append((entry, verdict))
    return kept


def _is_equal(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(
        value.dtype == other[key].dtype and value.equal(other[key]) for key, value in state.items()
    )


def _list_passed_over(chosen: Entry, entries: list[Entry]) -> tuple[str, ...]:
    others = [
        entry.name
        for entry in entries
        if entry.holds_kernels and entry.place != chosen.place[: len(entry.place)]
    ]
    return (*others, *chosen.siblings)


def _normalise_name(asked: str | None) -> str | None:
    if asked is None:
        return None
    return ".".join(part for part in asked.split(".") if part and part not in WRAPPING)
