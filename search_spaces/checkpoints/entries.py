"""Entries: the state dicts within a checkpoint, where they lie and which are averaged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces.checkpoints.averages import SLOTS, names_average, names_training
from search_spaces.checkpoints.files import read_tree, split_entry
from search_spaces.checkpoints.key_names import shorten_name

# Numbers beside the weights: of torch's AveragedModel, thop, batch norm and training loops.
COUNTERS = (
    *("n_averaged", "total_ops", "total_params", "num_batches_tracked", "num_updates", "initted"),
    *("step", "steps", "global_step", "epoch", "iter", "iteration", "decay"),
)
DEPTH = 6  # prefixes before prefixes
NESTING = 32  # mappings and lists in one another
NUM_FLAT = 1000  # numbers of a vector that may be all the weights of a network
NUM_SHOWN = 6  # names that a message lists
Visited = set[
    tuple[int, bool, bool]
]  # a mapping, whether in an optimiser, whether named as an average
WRAPPING = ("module", "_orig_mod")  # of DataParallel and torch.compile: no names that a user knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A state dict in a file.

    Attributes:
        place: the keys and prefixes that lead to it; empty for the file itself.
        state: its tensors by what remains of their names.
        dropped: what lies beside them, or beside a mapping that holds them, and is no tensor.
        siblings: the parts of its mapping, where it is one of several under prefixes.
        has_names: False for averages that are bare tensors, which no network can load.
        beside_raw: whether it is averaged because of what lies beside it, whatever its place is
            called.
    """

    place: tuple[str, ...]
    state: Mapping[str, Tensor]
    dropped: tuple[str, ...] = ()
    siblings: tuple[str, ...] = ()
    has_names: bool = True
    beside_raw: bool = False

    @property
    def name(self) -> str:
        """The place as a user writes it after FILE: and the colon; empty for the file itself."""
        return ".".join(part for part in self.place if part not in WRAPPING)

    @property
    def is_averaged(self) -> bool:
        """Whether these are averages over training steps."""
        return self.beside_raw or names_average(self.place)

    @property
    def holds_kernels(self) -> bool:
        return any(value.ndim > 1 for value in self.state.values())


def find_entries(tree: Any) -> list[Entry]:
    """Return the entries of a file: mappings of names to tensors, and averages without names.

    Outermost come first.


    What lies in a list is named by its index. Of what optimisers keep, averages of weights alone
    are returned.
    """
    return _walk_node(tree, (), False, set()) if isinstance(tree, Mapping | list | tuple) else []


def _walk_node(
    node: Any, place: tuple[str, ...], in_training: bool, visited: Visited
) -> list[Entry]:
    """Return the entries of a mapping or a list and of all below it.

    Args:
        in_training: whether it lies in what an optimiser or a scheduler keeps.
        visited: what was walked so far; a mapping may hold itself, or lie in two places.
    """
    visit = (id(node), in_training, names_average(place))
    if visit in visited or len(place) > NESTING:
        return []
    visited.add(visit)
    values = node if isinstance(node, Mapping) else dict(enumerate(node))
    if any(isinstance(values.get(slot), Tensor) for slot in SLOTS):
        return []  # what an optimiser keeps of one parameter

    # Tensors here. Parts under prefixes matter early where only averages are taken.
    here, counters = _split_tensors(values, place)
    if in_training:
        parts = [part for entry in here for part in (entry, *split_entry_state(entry))]
        here = [part for part in parts if part.is_averaged]

    # Every entry says too what was left out on the way to it.
    below = _walk_below(values, place, in_training, visited)
    dropped = tuple(
        key
        for key, value in values.items()
        if isinstance(key, str)
        and not (_is_tensor(value) or isinstance(value, Mapping))
        and not below.get(key)
    )
    here = [replace(entry, dropped=dropped + counters) for entry in here]
    inner = [entry for entries in below.values() for entry in entries]
    return here + [replace(entry, dropped=dropped + entry.dropped) for entry in inner]


def _walk_below(
    values: Mapping[Any, Any], place: tuple[str, ...], in_training: bool, visited: Visited
) -> dict[Any, list[Entry]]:
    """Return the entries below each key of a mapping."""
    below: dict[Any, list[Entry]] = {}
    for key, value in values.items():
        # A torch optimiser's own state is no average of weights, whatever its names are.
        own_state = "param_groups" in values and key in ("state", "param_groups")
        if isinstance(value, Mapping | list | tuple) and not own_state:
            training = in_training or names_training(str(key))
            below[key] = _walk_node(value, (*place, str(key)), training, visited)

    if "current_model_state" in below:  # Lightning's WeightAveraging: its state_dict is averaged
        below["state_dict"] = [
            replace(entry, beside_raw=True) for entry in below.get("state_dict", [])
        ]
    return below


def _split_tensors(
    values: Mapping[Any, Any], place: tuple[str, ...]
) -> tuple[list[Entry], tuple[str, ...]]:
    """Return the state dicts that the tensors of a mapping are, and the names of its counters."""
    tensors = {key: value for key, value in values.items() if _is_tensor(value)}
    named = {key: value for key, value in tensors.items() if isinstance(key, str)}
    counters = tuple(key for key, value in named.items() if _is_counter(key, value))
    state = {key: value for key, value in named.items() if key not in counters}
    entries = [Entry(place=place, state=state)] if state else []

    # Lists of tensors, as torch_ema keeps them, and vectors of all weights.
    unnamed = {f"[{key}]": value for key, value in tensors.items() if not isinstance(key, str)}
    bare = [Entry(place=place, state=unnamed, has_names=False)] if unnamed else []
    for key, value in state.items():
        if value.ndim == 1 and value.numel() >= NUM_FLAT and "." not in key:
            bare.append(Entry(place=(*place, key), state={"[0]": value[None]}, has_names=False))
    return entries + [entry for entry in bare if entry.is_averaged], counters


def _is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor with a shape: a nested one has none."""
    return isinstance(value, Tensor) and not value.is_nested


def _is_counter(key: str, value: Tensor) -> bool:
    return key.rpartition(".")[2] in COUNTERS and value.numel() == 1


def split_entry_state(entry: Entry) -> list[Entry]:
    """Return the parts of a state dict by the first words of its names; a bare word is no part."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in entry.state.items():
        first, _, rest = key.partition(".")
        parts.setdefault(first, {})[rest] = tensor

    # Each part knows its siblings: a message says what was passed over.
    names = {first: ".".join((*entry.place, first)) for first in parts}
    return [
        Entry(
            place=(*entry.place, first),
            state=part,
            dropped=entry.dropped,
            siblings=entry.siblings
            + tuple(name for other, name in names.items() if other != first),
            beside_raw=entry.beside_raw,
        )
        for first, part in parts.items()
        if "" not in part
    ]


def open_entries(path: str | Path) -> tuple[Path, str | None, list[Entry]]:
    """Return the file, the entry that is named, and the state dicts that the file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or holds no state dict.
    """
    file, entry_name = split_entry(path)
    tree = read_tree(file)
    entries = find_entries(tree)
    if not any(entry.state for entry in entries):
        # What the file holds instead shows what went wrong when it was saved.
        held = type(tree).__name__
        if isinstance(tree, Mapping):
            held = ", ".join(shorten_name(str(key)) for key in list(tree)[:NUM_SHOWN]) or "nothing"
        raise ValueError(
            f"weights: {file} holds no mapping of names to tensors, but {held}; "
            "save a state dict, by itself or under a name such as params_ema"
        )

    for entry in entries:
        if odd := [key for key, value in entry.state.items() if not _is_plain(value)]:
            raise ValueError(
                f"weights: {file}: {shorten_name(odd[0])} is sparse, quantised "
                "or does not hold all its numbers; save plain dense tensors"
            )
    return file, entry_name, entries


def check_numbers(entry: Entry, file: Path) -> None:
    """Refuse weights that are no finite numbers.

    Raises:
        ValueError: some are not; the message names them.
    """
    # A diverged training saves NaN without a word.
    broken = [
        key
        for key, value in entry.state.items()
        if value.is_floating_point() and not value.float().isfinite().all()
    ]
    if broken:
        raise ValueError(f"weights: {file}: {list_names(broken)} holds infinite numbers or NaN")


def _is_plain(value: Tensor) -> bool:
    """Return whether a tensor is dense and as large as it says.

    Shapes of a few bytes in a file may claim any memory.
    """
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def list_names(names: Iterable[str]) -> str:
    held = [shorten_name(name) for name in names]
    more = f" and {len(held) - NUM_SHOWN} more" if len(held) > NUM_SHOWN else ""
    return ", ".join(held[:NUM_SHOWN]) + more
