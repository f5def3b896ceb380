"""A released state dict: fitted to a network in its inference or its training form."""

import copy
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from search_spaces.checkpoints.key_names import (
    our_branch,
    our_name,
    released_branch,
    released_name,
    shorten_name,
)
from search_spaces.network import Network
from search_spaces.reparam import Conv3XC, rep_convs

V = TypeVar("V")
Shapes = dict[str, tuple[int, ...]]
# What a mark in a file means: where it is and the network has none, and the other way round.
MEANINGS = {"no_norm": "trained on the image itself, not on 255 * (image - mean): another network"}
MISSING = {
    "no_norm": "trained on 255 * (image - mean), not on the image itself: use normalise: true"
}
NUM_NAMED = 12  # differences that a message names
MAX_LINE = 300  # characters of a message


class Release:
    """A released state dict beside the network that it is for.

    Attributes:
        plain: by our names in the inference form, what is no branch.
        branches: of each convolution, its Conv3XC by our names.
    """

    def __init__(
        self, net: Network, state: Mapping[str, Tensor], published: Mapping[str, Any]
    ) -> None:
        self.patterns: dict[str, str] = published["official_keys"]
        self.branches_first = published.get("official_runs") == "branches"
        self.forms = dict(rep_convs(net))
        self.shapes = plain_shapes(net)
        self.plain: dict[str, Tensor] = {}
        self.branches: dict[str, dict[str, Tensor]] = {}
        self.theirs: dict[str, str] = {}  # our names -> those of the file
        self.twice: list[str] = []

        needed = published.get("marks", [])
        self.marks = [
            f"missing {mark}" + _explain_name(mark, MISSING) for mark in needed if mark not in state
        ]

        for key, value in state.items():
            branch = our_branch(key, self.patterns)
            if branch and f"{branch[0]}.weight" in self.shapes:
                self.branches.setdefault(branch[0], {})[branch[1]] = value
            else:
                self._add_plain(key, value)

    def _add_plain(self, key: str, value: Tensor) -> None:
        """Take a tensor that is no branch, under our name for it."""
        ours = our_name(key, self.patterns)
        if not ours:  # known, and not needed
            return
        if ours in self.theirs:
            self.twice.append(f"unexpected {shorten_name(key)}, which {self.theirs[ours]} is too")
        self.plain[ours] = _match_shape(value, self.shapes.get(ours))
        self.theirs[ours] = key

    @property
    def num_known(self) -> int:
        """The number of the network's names that the file holds, itself or as branches."""
        return sum(
            key in self.plain or key.rpartition(".")[0] in self.branches for key in self.shapes
        )

    def faults(self) -> list[str]:
        """List by name what the file lacks, has too much, or has in another shape or not finite."""
        wrong = self.twice + self.marks + self._find_branch_faults()
        if not wrong:
            self._merge_branches()
        # Branches were compared above; the rest is compared here, merged kernels among it.
        held = list(self.branches) if wrong else self._list_held_convs()
        plain, shapes = _drop_under(self.plain, held), _drop_under(self.shapes, held)
        # A file under our own names is told in our own names.
        ours = any(name == theirs for name, theirs in self.theirs.items() if name in self.shapes)
        names = {
            key: key if ours else released_name(key, self.patterns) for key in shapes
        } | self.theirs
        return wrong + differences(shapes, plain, names)

    def fitted(self, source: str) -> dict[str, Tensor]:
        """Return the network's whole new state.

        Raises:
            ValueError: what `faults` says.
        """
        refuse(self.faults(), source)
        held = self._list_held_convs()
        state = {
            f"{conv}.{branch}": value
            for conv in held
            for branch, value in self.branches[conv].items()
        }

        # Other training forms keep their branches, but one that takes what the others lack.
        plain = _drop_under(self.plain, held)
        for conv, form in self.forms.items():
            if conv not in held:
                twin = copy.deepcopy(form)
                twin.from_plain(plain.pop(f"{conv}.weight"), plain.pop(f"{conv}.bias", None))
                state |= {f"{conv}.{branch}": value for branch, value in twin.state_dict().items()}
        return state | plain

    def _list_held_convs(self) -> list[str]:
        """List the convolutions of which the network takes the branches as they are."""
        return [conv for conv in self.branches if isinstance(self.forms.get(conv), Conv3XC)]

    def _find_branch_faults(self) -> list[str]:
        wrong = []
        for conv, found in self.branches.items():
            shapes = {
                key: tuple(value.shape)
                for key, value in self._make_conv3xc(conv).state_dict().items()
            }
            names = {b: released_branch(conv, b, self.patterns) for b in {**shapes, **found}}
            wrong += differences(shapes, found, names)
            if stored := _select_under(self.plain, conv):  # beside them, run or not
                own = _select_under(self.shapes, conv)
                wrong += differences(
                    own, stored, {key: released_name(key, self.patterns) for key in own}
                )
        return wrong

    def _merge_branches(self) -> None:
        """Merge the branches where a merged convolution is not stored, or is not what runs."""
        for conv, found in self.branches.items():
            stored = f"{conv}.weight" in self.plain and not self.branches_first

            # The released class of some networks merges anew each time: there stored kernels do not
            # run.
            if not stored and not isinstance(self.forms.get(conv), Conv3XC):
                module = self._make_conv3xc(conv)
                # In float64: a merge in float32 would add roundings that no file has.
                module.load_state_dict(
                    {key: value.double() for key, value in found.items()}, assign=True
                )
                weight, bias = module.merged()
                self.plain[f"{conv}.weight"] = weight.detach()
                if bias is not None:
                    self.plain[f"{conv}.bias"] = bias.detach()

    def _make_conv3xc(self, conv: str) -> Conv3XC:
        """Return a Conv3XC for the branches of the file: the network's or the file's gain."""
        own = self.forms.get(conv)
        channels, in_channels, kernel = self.shapes[f"{conv}.weight"][:3]
        gain = _read_gain(self.branches[conv], in_channels, channels)
        if isinstance(own, Conv3XC):
            gain = own.expand.out_channels // in_channels
        with torch.device("meta"):
            bias = f"{conv}.bias" in self.shapes
            return Conv3XC(in_channels, channels, kernel=kernel, bias=bias, gain=gain)


def differences(shapes: Shapes, state: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    """List what a state lacks, what it has beyond some shapes, and which of its shapes are others.

    Args:
        names: how messages call our names; one without an entry is shown itself.
    """
    names = {key: shorten_name(names.get(key, key)) for key in {**shapes, **state}}
    wrong = [f"missing {names[key]}" for key in shapes if key not in state]
    for key in state:
        shown = names[key]
        if key not in shapes:
            wrong.append(f"unexpected {shown}" + _explain_name(shown, MEANINGS))

    # Names that fit may still hold other shapes, or what are no weights at all.
    wrong += [
        f"{names[key]} has shape {tuple(state[key].shape)} instead of {shape}"
        for key, shape in shapes.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    wrong += [
        f"{names[key]} holds {str(value.dtype).removeprefix('torch.')} instead of real numbers"
        for key, value in state.items()
        if key in shapes and not value.is_floating_point()
    ]
    return wrong


def _explain_name(key: str, meanings: Mapping[str, str]) -> str:
    return f" ({meanings[key]})" if key in meanings else ""


def refuse(wrong: Sequence[str], source: str) -> None:
    """Raise a ValueError of one line where anything is wrong."""
    if wrong:
        raise ValueError(misfit(wrong, source))


def misfit(wrong: Sequence[str], source: str) -> str:
    """Say in one line what does not fit: as many differences as fit the line, some of each kind."""
    start = f"weights: {source} does not fit the network: "
    for count in range(min(NUM_NAMED, len(wrong)), 0, -1):
        more = f" and {len(wrong) - count} more" if len(wrong) > count else ""
        message = f"{start}{'; '.join(_select_faults(wrong, count))}{more}"
        if len(message) <= MAX_LINE or count == 1:
            break
    return message


def _select_faults(wrong: Sequence[str], count: int) -> list[str]:
    """Return some differences of each kind: another network's file lacks names and adds others."""
    counts: Counter[str] = Counter()
    ranks = []
    for text in wrong:
        kind = text.partition(" ")[0] if text.startswith(("missing ", "unexpected ")) else "shape"
        ranks.append(counts[kind])
        counts[kind] += 1

    # The first of each kind, then the second of each, in their first order.
    named = sorted(range(len(wrong)), key=ranks.__getitem__)[:count]
    return [wrong[i] for i in sorted(named)]


def plain_shapes(net: Network) -> Shapes:
    """Return the shapes of a network's state in inference form."""
    forms = dict(rep_convs(net))
    state = _drop_under(net.state_dict(), forms)
    shapes: Shapes = {key: tuple(value.shape) for key, value in state.items()}
    for conv, form in forms.items():
        shapes[f"{conv}.weight"] = form.shape
        if form.has_bias:
            shapes[f"{conv}.bias"] = form.shape[:1]
    return shapes


def _match_shape(value: Tensor, shape: tuple[int, ...] | None) -> Tensor:
    """Return a tensor in our shape where only the number of its axes differs.

    That may be so of single numbers, of one number a channel, and of linear layers, which are 1x1
    convolutions.
    """
    if shape is None or value.ndim == len(shape):
        return value
    theirs, ours = ([size for size in sizes if size > 1] for sizes in (value.shape, shape))
    is_vector = theirs == ours and len(ours) <= 1
    is_linear = {value.ndim, len(shape)} == {2, 4} and (
        (*value.shape, 1, 1)[:4] == (*shape, 1, 1)[:4]
    )
    return value.reshape(shape) if is_vector or is_linear else value


def _select_under(state: Mapping[str, V], conv: str) -> dict[str, V]:
    return {key: value for key, value in state.items() if key.startswith(f"{conv}.")}


def _drop_under(state: Mapping[str, V], convs: Collection[str]) -> dict[str, V]:
    return {
        key: value
        for key, value in state.items()
        if not any(key.startswith(f"{conv}.") for conv in convs)
    }


def _read_gain(found: Mapping[str, Tensor], in_channels: int, channels: int) -> int:
    """Return the gain of a Conv3XC (how much wider its inner convolution is) from its weights."""
    places = (
        ("expand.weight", 0, in_channels),
        ("conv.weight", 1, in_channels),
        ("project.weight", 1, channels),
    )
    for name, axis, width in places:
        if name in found and found[name].ndim == 4:
            return max(1, found[name].shape[axis] // width)
    return 1
