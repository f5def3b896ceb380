"""A space written in YAML alone: frames, the blocks that may stand in them, and which values are choices."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from search_spaces.chooser import Chooser
from search_spaces.spaces import template
from search_spaces.spec import CHAINS, SCALES, ArchSpec, Scalar

INNER = ("conv_stack", "image_spab", "spab")  # kinds whose first activated convolution can be tapped
FRAME = {"first", "end"} | {field.name for field in fields(ArchSpec)} - {"scale", "blocks"}
BLOCK = ("multiple_of", "after")  # of a block's template: no arguments
Template = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrammarSpace:
    """Networks of some frames with blocks of some kinds.

    Where one value is expected a list is a choice; where a layer or a list of them is expected a mapping of
    names is a choice (a layer has a `kind`). `$name` stands for the value of a named choice, `$name/2` and
    `$name*2` for a share of it. Choices without effect on the network that is made are asked and dropped.

    Attributes:
        scale: upscale factor of every member.
        num_blocks: number of blocks.
        channels: feature channels, `$channels` below.
        choices: further named choices.
        blocks: what may stand at a position, by a name of yours: `kind` and all its arguments.
            `multiple_of`: only where `channels` is one; `after`: only behind a block of that name. Where it
            may not stand, the first block of this list stands instead.
        each: what every position chooses for itself: `block`, and arguments of blocks by their names; the
            rest is chosen once for all.
        frames: what stands around the blocks, by a name of yours: the fields of an architecture but
            `scale` and `blocks`; `first`: what stands in place of the first block; `end`: a layer after the
            last. Taps are words: stem, skip, first, last, last.inner (where the last block has one),
            end, blocks (all of them), block2.
        contains: published networks that are members; a claim that tests check.
    """

    scale: int
    num_blocks: list[int]
    channels: list[int]
    choices: dict[str, list[Any]]
    blocks: dict[str, dict[str, Any]]
    each: list[str]
    frames: dict[str, dict[str, Any]]
    contains: list[str]

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"space.scale must be one of {SCALES}, got {self.scale}")
        for name in ("num_blocks", "channels"):
            for option in getattr(self, name):
                if option < 1:
                    raise ValueError(f"space.{name} must be at least 1, got {option}")
        for name, options in self._choices():
            if not options or len(set(map(repr, options))) < len(options):
                raise ValueError(f"space.{name} must list at least one option and none twice, got {options}")
        for name in ("blocks", "frames"):
            if not getattr(self, name):
                raise ValueError(f"space.{name} must hold at least one, got none")
        self._check_blocks()
        self._check_frames()

    def sample(self, chooser: Chooser) -> ArchSpec:
        """One member. Every decision is asked, in one order; those without effect are dropped."""
        known: dict[str, Scalar] = {}
        num_blocks = template.pick(chooser, "num_blocks", self.num_blocks)
        known["channels"] = template.pick(chooser, "channels", self.channels)
        for name, options in self.choices.items():
            known[name] = template.pick(chooser, name, options)
        chosen = str(template.pick(chooser, "frame", list(self.frames)))
        frames = {name: self._frame(name, frame, chooser, known) for name, frame in self.frames.items()}
        body = self._body(chooser, known)[: int(num_blocks)]
        return self._member(frames[chosen], body)

    def _member(self, frame: dict[str, Any], body: list[dict[str, Any]]) -> ArchSpec:
        blocks = list(body)
        if first := frame.pop("first", None):
            blocks[0] = first
        count = len(blocks)
        if end := frame.pop("end", None):
            blocks.append(end)
        taps = _taps(frame.pop("taps"), blocks, count, frame)
        given = {name: part for name, part in frame.items() if part is not None}
        return ArchSpec.from_dict({"scale": self.scale, "blocks": blocks, "taps": taps, **given})

    def _body(self, chooser: Chooser, known: Mapping[str, Scalar]) -> list[dict[str, Any]]:
        """As many blocks as a member may have, each with its choices taken."""
        places = range(1, max(self.num_blocks) + 1)
        own = "block" in self.each
        early = [name for name, block in self.blocks.items() if "after" not in block]  # may stand first
        asked = [f"block{i}" for i in places] if own else ["block"]
        options = [early, *[list(self.blocks)] * (len(asked) - 1)]
        names = [str(template.pick(chooser, *one)) for one in zip(asked, options, strict=True)]
        made = {name: self._block(name, chooser, known, places) for name in self.blocks}
        chosen: list[str] = []
        for name in names if own else names * len(places):
            chosen.append(name if self._may_stand(name, chosen, known) else next(iter(self.blocks)))
        return [made[name][i - 1] for i, name in zip(places, chosen, strict=True)]

    def _block(
        self, name: str, chooser: Chooser, known: Mapping[str, Scalar], places: range
    ) -> list[dict[str, Any]]:
        """A block at every position."""
        shared = {key: one for key, one in self.blocks[name].items() if key not in (*BLOCK, *self.each)}
        own = {key: one for key, one in self.blocks[name].items() if key in self.each}
        base = template.args(shared, name, chooser, known)
        return [base | template.args(own, f"block{i}.{name}", chooser, known) for i in places]

    def _may_stand(self, name: str, before: list[str], known: Mapping[str, Scalar]) -> bool:
        block = self.blocks[name]
        fits = int(known["channels"]) % int(block.get("multiple_of", 1)) == 0
        return fits and block.get("after", name) in (name, *before)

    def _frame(
        self, name: str, frame: Template, chooser: Chooser, known: Mapping[str, Scalar]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, one in frame.items():
            alternatives = template.alternatives(one)
            # Each alternative asks its own choices, so that a decision has one place in the order.
            made = {
                other: _part(key, part, f"{name}.{key}{'.' * bool(other)}{other}", chooser, known)
                for other, part in alternatives.items()
            }
            found[key] = made[str(template.pick(chooser, f"{name}.{key}", list(alternatives)))]
        return found

    def _choices(self) -> Iterator[tuple[str, list[Any]]]:
        """The lists of options, by their keys."""
        yield "num_blocks", self.num_blocks
        yield "channels", self.channels
        for name, options in self.choices.items():
            yield f"choices.{name}", options
        for block, arguments in self.blocks.items():
            for name, one in arguments.items():
                if isinstance(one, list) and name != "blocks":
                    yield f"blocks.{block}.{name}", one

    def _check_blocks(self) -> None:
        for name, block in self.blocks.items():
            if "kind" not in block:
                raise ValueError(f"space.blocks.{name} must have a kind, got {sorted(block)}")
            if block.get("after", name) not in self.blocks:
                raise ValueError(
                    f"space.blocks.{name}.after: {block['after']!r} is no block here; "
                    f"known: {', '.join(self.blocks)}"
                )
            self._check_references(f"blocks.{name}", block)
        first = next(iter(self.blocks))
        if any(key in self.blocks[first] for key in BLOCK):
            raise ValueError(
                f"space.blocks.{first} stands in for others: it must have no {' or '.join(BLOCK)}"
            )
        arguments = {key for block in self.blocks.values() for key in block}
        for name in self.each:
            if name != "block" and name not in arguments:
                raise ValueError(
                    f"space.each: {name!r} is no argument of a block; "
                    f"known: block, {', '.join(sorted(arguments))}"
                )

    def _check_frames(self) -> None:
        for name, frame in self.frames.items():
            if unknown := sorted(set(frame) - FRAME):
                raise ValueError(
                    f"space.frames.{name}: {', '.join(unknown)} unknown; known: {', '.join(sorted(FRAME))}"
                )
            if missing := sorted({"normalise", "taps", "fusion", "upsampler"} - set(frame)):
                raise ValueError(f"space.frames.{name}: {', '.join(missing)} missing")
            self._check_references(f"frames.{name}", frame)

    def _check_references(self, path: str, part: Template) -> None:
        known = ["channels", *self.choices]
        for name in template.references(part):
            if name not in known:
                raise ValueError(f"space.{path}: ${name} is no named choice; known: {', '.join(known)}")


def _part(key: str, part: Any, name: str, chooser: Chooser, known: Mapping[str, Scalar]) -> Any:
    """A value of a frame: a layer, a list of layers, the taps, or one value."""
    if part is None or key == "taps":
        return part
    if isinstance(part, Mapping):
        return template.args(part, name, chooser, known)
    if key in CHAINS:
        return [template.args(one, f"{name}.{i}", chooser, known) for i, one in enumerate(part, start=1)]
    return template.value(part, name, chooser, known)


def _taps(words: list[str], blocks: list[dict[str, Any]], count: int, frame: Mapping[str, Any]) -> list[str]:
    """The features that words name; those that are not there are left out, none comes twice."""
    found: list[str] = []
    for word in words:
        if word == "skip":
            found += ["skip"] if (frame.get("skip") or {}).get("kind") == "near" else []
        elif word == "last.inner":
            found += [f"block{count}.inner"] if blocks[count - 1]["kind"] in INNER else []
        elif word == "blocks":
            found += [f"block{i}" for i in range(1, count + 1)]
        else:
            found.append(
                {"first": "block1", "last": f"block{count}", "end": f"block{len(blocks)}"}.get(word, word)
            )
    return list(dict.fromkeys(found))
