"""State dicts within a checkpoint: where they lie, which are averaged, and which of them is meant."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from search_spaces.release import misfit

COUNTERS = (  # of torch's AveragedModel, of thop, of batch norm and of training loops, beside the weights
    *("n_averaged", "total_ops", "total_params", "num_batches_tracked", "num_updates", "initted"),
    *("step", "steps", "global_step", "epoch", "iter", "iteration", "decay"),
)
DEPTH = 6  # mappings in mappings, and prefixes before prefixes
NUM_SHOWN = 6  # names that a message lists
PREFIXES = (  # that wrapping modules put before all names
    *("module", "_orig_mod", "model", "net", "net_g", "netG", "network", "generator"),
    *("ema", "ema_model", "generator_ema", "net_g_ema", "params_ema"),
)
_WRAPPING = ("module", "_orig_mod")  # of DataParallel and torch.compile: no names that a user knows
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averaged?|avg|shadow|polyak)(?![a-z])")
_RAW = re.compile(r"(?<![a-z])(online|raw)(?![a-z])")  # of what lies within an averaging module
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TRAINING = re.compile(r"opt|optim.*|.*scheduler.*|.*scaler|grads?")
_OTHER_NETWORK = re.compile(r"(?<![a-z])(net)?_?(d|disc[a-z]*|critic)(?![a-z])")  # a GAN's other half


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A state dict in a file.

    Attributes:
        place: the keys and prefixes that lead to it; empty for the file itself.
        state: its tensors by what remains of their names.
        dropped: what lies beside them, or beside a mapping that holds them, and is no tensor.
        siblings: the parts of its mapping, where it is one of several under prefixes.
    """

    place: tuple[str, ...]
    state: Mapping[str, Tensor]
    dropped: tuple[str, ...] = ()
    siblings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The place as a user writes it after FILE: and the colon; empty for the file itself."""
        return ".".join(part for part in self.place if part not in _WRAPPING)

    @property
    def is_averaged(self) -> bool:
        """Whether its place says that these are averages over training steps; the innermost word counts."""
        for part in reversed(self.place):
            words = _HUMP.sub("_", part).lower()
            if _RAW.search(words):
                return False
            if _AVERAGED.search(words):
                return True
        return False

    @property
    def holds_kernels(self) -> bool:
        return any(value.ndim > 1 for value in self.state.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge says of a state dict: how many names it knows, and what does not fit."""

    num_known: int
    faults: tuple[str, ...]
    result: Any = field(default=None, compare=False)


class MisfitError(ValueError):
    """No state dict of a file fits."""


Judge = Callable[[Mapping[str, Tensor]], Verdict]
Found = tuple[Entry, Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The state dict that is meant, what its judge said, and the names of those that are not."""

    entry: Entry
    verdict: Verdict
    passed_over: tuple[str, ...]

    def describe(self, source: str) -> str:
        """Say which entry of a file was read, and what was not."""
        said = f"entry {self.entry.name} of {source}" if self.entry.name else source
        if self.passed_over:
            said += f"; passed over: {_list(self.passed_over)}"
        return said + (f"; left out: {_list(self.entry.dropped)}" if self.entry.dropped else "")


def find_entries(tree: Any) -> list[Entry]:
    """Return every mapping of names to tensors in a file, outermost first; what optimisers keep is none."""
    return [] if not isinstance(tree, Mapping) else list(_walk(tree, (), (), {id(tree)}))


def _walk(
    node: Mapping[Any, Any], place: tuple[str, ...], dropped: tuple[str, ...], visited: set[int]
) -> Iterator[Entry]:
    named = {key: value for key, value in node.items() if isinstance(key, str)}
    state = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    dropped += tuple(key for key, value in named.items() if not isinstance(value, Tensor | Mapping))
    counters = tuple(key for key in state if _is_counter(key, state[key]))
    state = {key: value for key, value in state.items() if key not in counters}
    if state:
        yield Entry(place=place, state=state, dropped=dropped + counters)
    for key, value in named.items():
        inner = (*place, key)
        if isinstance(value, list | tuple) and value and all(isinstance(item, Tensor) for item in value):
            unnamed = Entry(place=inner, state={f"[{i}]": item for i, item in enumerate(value)})
            if unnamed.is_averaged:  # as torch_ema keeps them; others are no state dict
                yield unnamed
        elif isinstance(value, Mapping) and id(value) not in visited and len(inner) <= DEPTH:
            visited.add(id(value))
            if not _TRAINING.fullmatch(key.lower()):
                yield from _walk(value, inner, dropped, visited)


def _is_counter(key: str, value: Tensor) -> bool:
    return key.rpartition(".")[2] in COUNTERS and value.numel() == 1


def choose_entry(entries: list[Entry], judge: Judge, source: str, wanted: str | None) -> Choice:
    """Return the state dict that fits, an averaged one before a raw one.

    Args:
        judge: says of a state dict whether it fits.
        source: the file, for messages.
        wanted: the name of the entry that the user chose, as in FILE:ENTRY.
    Raises:
        ValueError: none fits, or more than one does, or averages do not where raw weights do.
    """
    wanted = _normalise(wanted)
    tried = [found for entry in entries for found in _judge_within(entry, judge, wanted, DEPTH)]
    if not tried:
        names = _list(dict.fromkeys(entry.name or "the file itself" for entry in entries))
        what = "no tensors under names" if wanted is None else f"no entry {wanted!r}"
        raise ValueError(f"weights: {source} holds {what}; its entries: {names or 'none'}")
    fitting = [found for found in tried if not found[1].faults]
    if not fitting:
        raise MisfitError(_describe_misfit(tried, source))
    if wanted is None:
        _check_averages(fitting, tried, source)
    averaged = [found for found in fitting if found[0].is_averaged]
    pool = _differing(averaged or fitting)
    if len(pool) > 1:
        held = [entry.name or "the file itself" for entry, _ in pool]
        raise ValueError(
            f"weights: {source} holds {len(pool)} entries that fit: {_list(held)}; name one: "
            f"weights={source}:{pool[-1][0].name}"
        )
    entry, verdict = pool[0]
    return Choice(entry=entry, verdict=verdict, passed_over=_passed_over(entry, entries))


def pick_entry(entries: list[Entry], source: str, wanted: str | None) -> Entry:
    """Return the state dict that is meant where nothing says what fits, without usual prefixes.

    Raises:
        ValueError: there is none of the name that is wanted, or several remain.
    """

    def judge(state: Mapping[str, Tensor]) -> Verdict:
        prefixed = {key.partition(".")[0] for key in state} <= set(PREFIXES)
        return Verdict(num_known=0, faults=("a prefix",) if prefixed else ())

    largest = [entry for entry in entries if entry.holds_kernels] or entries
    return choose_entry(largest, judge, source, wanted).entry


def _judge_within(entry: Entry, judge: Judge, wanted: str | None, depth: int) -> list[Found]:
    """Judge a state dict as it is; where it does not fit, its parts under prefixes, down to some depth."""
    tried: list[Found] = []
    if wanted is None or f"{entry.name}.".startswith(f"{wanted}."):
        tried.append((entry, judge(entry.state)))
        if not tried[0][1].faults:
            return tried
    for part in _split(entry) if depth else []:
        if part.holds_kernels or not entry.holds_kernels:
            tried += _judge_within(part, judge, wanted, depth - 1)
    return tried


def _split(entry: Entry) -> list[Entry]:
    """The parts of a state dict by the first words of its names, but for what is no more than such a word."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in entry.state.items():
        first, _, rest = key.partition(".")
        parts.setdefault(first, {})[rest] = tensor
    names = {first: ".".join((*entry.place, first)) for first in parts}
    return [
        Entry(
            place=(*entry.place, first),
            state=part,
            dropped=entry.dropped,
            siblings=entry.siblings + tuple(name for other, name in names.items() if other != first),
        )
        for first, part in parts.items()
        if "" not in part
    ]


def _check_averages(fitting: list[Found], tried: list[Found], source: str) -> None:
    """Refuse to take raw weights in silence where averages of them do not fit.

    Raises:
        ValueError: there are such; the message names them, what is wrong, and both ways out.
    """
    if any(entry.is_averaged for entry, _ in fitting):
        return
    for entry, verdict in tried:
        if entry.is_averaged and entry.holds_kernels and not _OTHER_NETWORK.search(entry.name.lower()):
            raw = fitting[0][0].name
            way = f"weights={source}:{raw} takes the raw ones" if raw else "save one of them alone"
            raise ValueError(
                f"weights: {source} holds averaged weights under {entry.name} that do not fit "
                f"({verdict.faults[0]}) beside raw ones that do; {way}"
            )


def _describe_misfit(tried: list[Found], source: str) -> str:
    """Say what does not fit in the state dict that comes closest."""
    entry, verdict = max(tried, key=lambda found: (found[1].num_known, found[0].is_averaged))
    several = len({found[0].place[:1] for found in tried if found[0].holds_kernels}) > 1
    named = f"entry {entry.name} of {source}" if several and entry.name else source
    return misfit(verdict.faults, named)


def _differing(found: list[Found]) -> list[Found]:
    """Without those that hold the numbers of one before them."""
    kept: list[Found] = []
    for entry, verdict in found:
        if not any(_is_equal(entry.state, other.state) for other, _ in kept):
            kept.append((entry, verdict))
    return kept


def _is_equal(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(value.equal(other[key]) for key, value in state.items())


def _passed_over(chosen: Entry, entries: list[Entry]) -> tuple[str, ...]:
    others = [
        entry.name
        for entry in entries
        if entry.holds_kernels and entry.place != chosen.place[: len(entry.place)]
    ]
    return (*others, *chosen.siblings)


def _normalise(wanted: str | None) -> str | None:
    if wanted is None:
        return None
    return ".".join(part for part in wanted.split(".") if part and part not in _WRAPPING)


def _list(names: Iterable[str]) -> str:
    held = list(names)
    more = f" and {len(held) - NUM_SHOWN} more" if len(held) > NUM_SHOWN else ""
    return ", ".join(held[:NUM_SHOWN]) + more
