"""A space written in YAML alone: frames, blocks that may stand in them, and their choices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.chooser import Chooser
from search_spaces.spaces import template
from search_spaces.spaces.grammar_check import check_grammar
from search_spaces.spec import ArchSpec, Scalar

INNER = (
    "conv_stack",
    "image_spab",
    "spab",
)  # kinds whose first activated convolution can be tapped


@dataclass(frozen=True, slots=True, kw_only=True)
class GrammarSpace:
    """Networks of some frames with blocks of some kinds, described by plain data.

    Where one value is expected a list is a choice; where a layer or a list of them is expected a
    mapping of names is a choice (a layer has a `kind`). `$name` stands for the value of a named
    choice, `$name/2`, `$name*2` and `$name*$other` for a share of it. Choices without effect on the
    network that is made are asked and dropped.

    Attributes:
        scale: upscale factor of every member.
        num_blocks: number of blocks.
        channels: feature channels, `$channels` below.
        choices: further named choices.
        blocks: what may stand at a position, by a name of yours: `kind` and all its arguments.
            `multiple_of`: only where `channels` is one; `after`: only behind a block of that name.
            Where it may not stand, the first block of this list stands instead. Layers of a frame
            may have `multiple_of` too, where the first of their alternatives has none.
        each: what every position chooses for itself: `block`, and arguments of blocks by their
            names; the rest is chosen once for all.
        frames: what stands around the blocks, by a name of yours: the fields of an architecture but
            `scale` and `blocks`; `first`: what stands in place of the first block; `start` and
            `end`: a layer before the first and one after the last, which do not count as blocks.
            Taps are words: stem, skip, first, before_last (where there is one), last, last.inner
            (where the last block has one), end, blocks (all of them), block2 (the second layer
            after the stem). So is a residual's `feature`: stem, skip, first, last, end, block2.
        contains: published networks that are members; a claim that tests check.

    Example:
        >>> from search_spaces.chooser import decisions
        >>> spab = {"kind": "spab", "channels": "$channels", "activation": ["silu", "relu"],
        ...     "attention": "none", "bias": True}
        >>> frame = {"normalise": False, "taps": ["last"],
        ...     "fusion": {"kind": "conv", "channels": "$channels", "kernel": 1, "bias": True},
        ...     "upsampler": {"kind": "pixel_shuffle", "kernel": 3, "bias": True}}
        >>> space = GrammarSpace(scale=4, num_blocks=[2, 4], channels=[16], choices={},
        ...     blocks={"spab": spab}, each=[], frames={"plain": frame}, contains=[])
        >>> decisions(space)
        {'num_blocks': (2, 4), 'spab.activation': ('silu', 'relu')}
    """

    scale: int
    num_blocks: list[int]
    channels: list[int]
    choices: dict[str, list[Any]]
    blocks: dict[str, dict[str, Any]]
    each: list[str]
    frames: dict[str, dict[str, Any]]
    contains: list[str]
    asked: dict[str, Sequence[Scalar]] = field(
        init=False, repr=False, compare=False
    )  # every decision

    def __post_init__(self) -> None:
        check_grammar(self)
        object.__setattr__(self, "asked", dict(self._list_decisions()))

    def sample(self, chooser: Chooser) -> ArchSpec:
        """Return one member. Every decision is asked, in one order.

        Only what has an effect is made.
        """
        # All of them, whatever the first ones say: one option list a name in a whole study.
        picks = {name: chooser.pick(name, options) for name, options in self.asked.items()}
        known = {
            name: picks.get(name, options[0])
            for name, options in (("channels", self.channels), *self.choices.items())
        }
        # A frame may hold the first block itself (`is_led`): the body is one shorter then.
        frame = self._make_frame(str(picks.get("frame", next(iter(self.frames)))), picks, known)
        return self._make_member(frame, self._make_body(picks, known, is_led="first" in frame))

    def _list_decisions(self) -> Iterator[tuple[str, Sequence[Scalar]]]:
        """Yield every decision with its options, in the order in which it is asked."""
        for name in ("num_blocks", "channels"):
            yield from template.decisions(getattr(self, name), name)
        for name, options in self.choices.items():
            yield from template.decisions(options, name)
        yield from template.decisions(list(self.frames), "frame")

        # What is open in a frame: the layers of each alternative, then the alternative itself.
        for name, frame in self.frames.items():
            for key, one in frame.items():
                choice = template.alternatives(one)
                if key != "taps":
                    for other, part in choice.items():
                        yield from template.decisions(part, _name_decision(name, key, other))
                yield from template.decisions(list(choice), _name_decision(name, key))

        # What is open in the body: which block stands where, then the arguments of the blocks.
        early = [
            name for name, block in self.blocks.items() if "after" not in block
        ]  # may stand first
        for i, place in enumerate(self._list_block_decisions()):
            yield from template.decisions(list(self.blocks) if i else early, place)

        for name, block in self.blocks.items():
            shared, own = self._split_shares(block)
            yield from template.decisions(shared, name)
            for i in range(1, max(self.num_blocks) + 1):
                yield from template.decisions(own, f"block{i}.{name}")

    def _make_member(self, frame: dict[str, Any], body: list[dict[str, Any]]) -> ArchSpec:
        # `start` and `end` are around the blocks that count: `first` and `last` are among those.
        counted = [frame.pop("first"), *body] if "first" in frame else body
        around = (frame.pop("start", None), frame.pop("end", None))
        start, end = ([layer] if layer else [] for layer in around)
        blocks = [*start, *counted, *end]
        numbers = range(len(start) + 1, len(start) + len(counted) + 1)

        # Features are named by words in a frame, by the numbers of blocks in a member.
        frame["taps"] = _resolve_taps(frame["taps"], blocks, numbers, frame)
        frame["residuals"] = [
            layer | {"feature": _name_feature(layer["feature"], numbers, len(blocks))}
            for layer in frame.get("residuals") or []
        ]
        given = {name: part for name, part in frame.items() if part is not None}
        return ArchSpec.from_dict({"scale": self.scale, "blocks": blocks, **given})

    def _list_block_decisions(self) -> list[str]:
        """List the decisions that choose blocks: one a position, or one for all."""
        return (
            [f"block{i}" for i in range(1, max(self.num_blocks) + 1)]
            if "block" in self.each
            else ["block"]
        )

    def _make_body(
        self, picks: template.Picks, known: template.Picks, *, is_led: bool
    ) -> list[dict[str, Any]]:
        """Return the blocks of a member with their choices taken.

        Where the frame has a first block of its own (`is_led`), the body begins with the second.
        """
        first = next(iter(self.blocks))
        places = range(2 if is_led else 1, int(picks.get("num_blocks", self.num_blocks[0])) + 1)
        asked = self._list_block_decisions()

        # A block that may not stand at a place gives way to the first of the list.
        chosen: list[str] = []
        for i in places:
            name = str(picks.get(asked[min(i, len(asked)) - 1], first))
            chosen.append(name if self._may_stand(name, chosen, known) else first)

        return [
            self._make_block(name, i, picks, known) for i, name in zip(places, chosen, strict=True)
        ]

    def _make_block(
        self, name: str, place: int, picks: template.Picks, known: template.Picks
    ) -> dict[str, Any]:
        shared, own = self._split_shares(self.blocks[name])
        parts = ((shared, name), (own, f"block{place}.{name}"))
        return {
            key: one
            for part, path in parts
            for key, one in template.decided(part, path, picks, known).items()
        }

    def _split_shares(self, block: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what of a block is chosen once, and what every position chooses for itself."""
        own = {key: one for key, one in block.items() if key in self.each}
        return {key: one for key, one in block.items() if key not in own}, own

    def _may_stand(self, name: str, before: list[str], known: template.Picks) -> bool:
        block = self.blocks[name]
        return template.fits(block, int(known["channels"])) and block.get("after", name) in (
            name,
            *before,
        )

    def _make_frame(
        self, name: str, picks: template.Picks, known: template.Picks
    ) -> dict[str, Any]:
        layers: dict[str, Any] = {}
        for key, one in self.frames[name].items():
            choice = template.alternatives(one)
            first = next(iter(choice))
            other = str(picks[_name_decision(name, key)]) if len(choice) > 1 else first
            if not template.fits(choice[other], int(known["channels"])):
                other = first
            part, path = choice[other], _name_decision(name, key, other)
            layers[key] = part if key == "taps" else template.decided(part, path, picks, known)

        return {key: part for key, part in layers.items() if key != "first" or part is not None}


def _name_decision(frame: str, *keys: str) -> str:
    """Return the name of a decision of a frame.

    A part without alternatives has no name of its own.
    """
    return ".".join(filter(None, (frame, *keys)))


def _resolve_taps(
    words: list[str], blocks: list[dict[str, Any]], numbers: range, frame: Mapping[str, Any]
) -> list[str]:
    """Return the features that words name.

    Those that are not there are left out, none comes twice.

    Args:
        numbers: of the blocks that count, those between `start` and `end`, from 1.
    """
    features: list[str] = []
    last = numbers[-1]
    for word in words:
        if word == "skip":
            features += ["skip"] if (frame.get("skip") or {}).get("kind") == "near" else []
        elif word == "last.inner":
            features += [f"block{last}.inner"] if blocks[last - 1]["kind"] in INNER else []
        elif word == "before_last":
            features += [f"block{last - 1}"] if len(numbers) > 1 else []
        elif word == "blocks":
            features += [f"block{i}" for i in numbers]
        else:
            features.append(_name_feature(word, numbers, len(blocks)))

    # First and last may be the same block.
    return list(dict.fromkeys(features))


def _name_feature(word: str, numbers: range, num_layers: int) -> str:
    """Return the name of the one feature that a word stands for; any other word stays."""
    places = {"first": numbers[0], "last": numbers[-1], "end": num_layers}
    return f"block{places[word]}" if word in places else word
