"""State dicts within a checkpoint: where they lie, which are averaged, and which of them is meant."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces.checkpoints.files import read_tree, split_entry
from search_spaces.keys import shorten_name

COUNTERS = (  # of torch's AveragedModel, of thop, of batch norm and of training loops, beside the weights
    *("n_averaged", "total_ops", "total_params", "num_batches_tracked", "num_updates", "initted"),
    *("step", "steps", "global_step", "epoch", "iter", "iteration", "decay"),
)
DEPTH = 6  # mappings in mappings, and prefixes before prefixes
NUM_SHOWN = 6  # names that a message lists
WRAPPING = ("module", "_orig_mod")  # of DataParallel and torch.compile: no names that a user knows
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averaged?|avg|shadow|polyak)(?![a-z])")
_RAW = re.compile(r"(?<![a-z])(online|raw)(?![a-z])")  # of what lies within an averaging module
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TRAINING = re.compile(r"(.*_)?opt(_.*)?|.*optim.*|.*scheduler.*|.*scaler|grads?")


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
        return ".".join(part for part in self.place if part not in WRAPPING)

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


def split_entry_state(entry: Entry) -> list[Entry]:
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


def open_entries(path: str | Path) -> tuple[Path, str | None, list[Entry]]:
    """The file, the entry that is named, and the state dicts that the file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or holds no state dict.
    """
    file, wanted = split_entry(path)
    tree = read_tree(file)
    entries = find_entries(tree)
    if not any(entry.state for entry in entries):
        held = type(tree).__name__
        if isinstance(tree, Mapping):
            held = ", ".join(shorten_name(str(key)) for key in list(tree)[:NUM_SHOWN]) or "nothing"
        raise ValueError(
            f"weights: {file} holds no mapping of names to tensors, but {held}; save a state dict, by itself "
            "or under a name such as params_ema"
        )
    for entry in entries:
        if odd := [key for key, value in entry.state.items() if not _is_plain(value)]:
            raise ValueError(
                f"weights: {file}: {shorten_name(odd[0])} is sparse, quantised or does not hold all its "
                "numbers; save plain dense tensors"
            )
    return file, wanted, entries


def check_numbers(entry: Entry, file: Path) -> None:
    """Refuse weights that are no finite numbers.

    Raises:
        ValueError: some are not; the message names them.
    """
    broken = [
        key
        for key, value in entry.state.items()
        if value.is_floating_point() and not value.float().isfinite().all()
    ]
    if broken:
        raise ValueError(f"weights: {file}: {list_names(broken)} holds infinite numbers or NaN")


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor is dense and as large as it says: shapes of a few bytes may claim any memory."""
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def list_names(names: Iterable[str]) -> str:
    held = [shorten_name(name) for name in names]
    more = f" and {len(held) - NUM_SHOWN} more" if len(held) > NUM_SHOWN else ""
    return ", ".join(held[:NUM_SHOWN]) + more
