"""What an architecture is: immutable, JSON in and out, and a hash of what it computes."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from search_spaces.limits import (
    MAX_BLOCKS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    RANGES,
    check_size,
    shorten,
    shown,
)

Scalar = str | int | float | bool

SCALES = (2, 3, 4)  # upscale factors
FIXED_SKIPS = (
    "bilinear",
    "nearest",
)  # added to the output; any other is learned and ends in the tap `skip`
RESERVED = ("kind", "blocks", "train_form")  # of a block's mapping: no arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """One layer of a network: its kind and every argument of it, the usual ones too.

    Attributes:
        kind: a name that `search_spaces.blocks` knows, or `search_spaces.frame` for what stands
            around.
        args: sorted by name.
        blocks: what a group holds, in order; other kinds hold none.
        train_form: how its dense convolutions are held in training, in place of the architecture's
            `train_form` or, within a group, the group's; `none` keeps them plain. No part of
            `arch_id`.
    """

    kind: str
    args: tuple[tuple[str, Scalar], ...]
    blocks: "tuple[BlockSpec, ...]" = ()
    train_form: "BlockSpec | None" = None

    @classmethod
    def of(cls, kind: str, /, **args: Scalar) -> "BlockSpec":
        """Return the spec of a kind with some arguments, in any order.

        Example:
            >>> from search_spaces import BlockSpec
            >>> BlockSpec.of("conv", kernel=3, channels=28, bias=True).args
            (('bias', True), ('channels', 28), ('kernel', 3))
        """
        return cls(kind=kind, args=tuple(sorted(args.items())))

    def __post_init__(self) -> None:
        for name, value in self.args:
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{self.kind}.{name} must be finite, got {value}")
            if name not in RANGES:
                check_size(f"{self.kind}.{name}", name, value)
                continue

            # Whole numbers with a range of their own: 1.0 and true are refused too.
            least, most = RANGES[name]
            if type(value) is not int or not least <= value <= most:
                raise ValueError(
                    f"{self.kind}.{name} must be a whole number of at least {least} and at most "
                    f"{most}, got {shown(value)}"
                )

            if name == "kernel" and value % 2 == 0:
                raise ValueError(
                    f"{self.kind}.kernel must be odd to keep height and width, got {value}; use 1, "
                    "3 or 5"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; what the block does not have is absent."""
        data: dict[str, Any] = {"kind": self.kind, **dict(self.args)}
        if self.blocks:
            data["blocks"] = [block.to_dict() for block in self.blocks]
        if self.train_form:
            data["train_form"] = self.train_form.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, depth: int = 0) -> "BlockSpec":
        """Return the block of plain data: the inverse of `to_dict`.

        Args:
            depth: number of blocks that hold this one.
        Raises:
            ValueError: it is no mapping with a kind, an argument is neither text nor number, or
                blocks hold blocks too deep.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
            raise ValueError(f"a block must be a mapping with a `kind`, got {shown(data)}")
        kind = shorten(data["kind"])
        if depth > MAX_DEPTH:
            raise ValueError(
                f"{kind}: blocks may hold blocks {MAX_DEPTH} deep, not deeper; write one group"
            )

        # What is not reserved is an argument: its name is text, its value what JSON can say.
        args = {name: value for name, value in data.items() if name not in RESERVED}
        for name, value in args.items():
            if not isinstance(name, str):
                raise ValueError(f"{kind}: the name of an argument must be text, got {shown(name)}")
            if not isinstance(value, str | int | float | bool):
                raise ValueError(
                    f"{kind}.{shorten(name)} must be text, a number or true/false, got "
                    f"{shown(value)}"
                )

        # A training form is a block too, of the kinds in `reparam`.
        form = data.get("train_form")
        return cls(
            kind=data["kind"],
            args=tuple(sorted(args.items())),
            blocks=_read_blocks(data.get("blocks", []), f"{kind}.blocks", depth + 1),
            train_form=None if form is None else cls.from_dict(form, depth=depth + 1),
        )

    def count(self) -> int:
        """Return the number of blocks that it is, those that it holds among them."""
        return 1 + sum(block.count() for block in self.blocks)


def _read_blocks(data: Any, name: str, depth: int = 0) -> tuple[BlockSpec, ...]:
    if type(data) is not list:
        raise ValueError(f"{name} must be list, got {shown(data)}")
    if len(data) > MAX_BLOCKS:
        raise ValueError(f"{name} must hold at most {MAX_BLOCKS}, got {len(data)}")
    return tuple(BlockSpec.from_dict(block, depth=depth) for block in data)


PARTS = ("stem", "fusion", "upsampler", "skip", "train_form")
CHAINS = ("wrap", "blocks", "tail", "residuals")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSpec:
    """A network in one grammar: image -> stem -> blocks -> fusion of tapped features -> upsampler.

    Attributes:
        scale: upscale factor: 2, 3 or 4.
        normalise: the body sees 255 * (image - DIV2K mean), as SPAN does; else the image itself.
        wrap: what is done to the image first and undone at the end, outermost first: `pad` to a
            multiple of some pixels, `centre` on the DIV2K mean.
        stem: first layer; None lets the first block take the image.
        blocks: the body, in order; block i is named `block<i>`, from 1.
        taps: the features that are concatenated for the fusion, in channel order: `stem`, `skip`,
            `block<i>`, or `block<i>.inner`, the block's first activated convolution.
        scaled_taps: each tap is multiplied by a learned number a channel first.
        fusion: layer over the concatenated taps.
        tail: blocks after the fusion.
        residuals: what is added to their output: each a layer with the argument `feature`, the tap
            that it reads; `identity` adds the feature itself.
        upsampler: layer from that sum to the image.
        skip: branch from the image past the body: a learned one (`near`) ends in the tap `skip`, a
            fixed one (`bilinear`, `nearest`) is added to the output. None: no branch.
        train_form: how the dense convolutions of stem and blocks are held in training, a kind of
            `search_spaces.reparam`; other parts may name their own. It does not change what the
            network computes and is no part of `arch_id`.

    Example:
        >>> from search_spaces import ArchSpec, published
        >>> spec = published("span")
        >>> spec.blocks[0].kind, spec.taps
        ('spab', ('stem', 'block7', 'block1', 'block6.inner'))
        >>> ArchSpec.from_json(spec.to_json()) == spec
        True
    """

    scale: int
    normalise: bool
    blocks: tuple[BlockSpec, ...]
    taps: tuple[str, ...]
    fusion: BlockSpec
    upsampler: BlockSpec
    stem: BlockSpec | None = None
    skip: BlockSpec | None = None
    train_form: BlockSpec | None = None
    wrap: tuple[BlockSpec, ...] = ()
    tail: tuple[BlockSpec, ...] = ()
    residuals: tuple[BlockSpec, ...] = ()
    scaled_taps: bool = False

    def __post_init__(self) -> None:
        if type(self.scale) is not int or self.scale not in SCALES:
            raise ValueError(f"scale must be one of {SCALES}, got {shown(self.scale)}")
        for name in ("normalise", "scaled_taps"):
            # Types are exact: 1 for true would be a second spec of one network.
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be true or false, got {shown(getattr(self, name))}")

        # Specs come from strangers: sizes first, then what is in them.
        count = sum(block.count() for name in CHAINS for block in getattr(self, name))
        if count > MAX_BLOCKS:
            raise ValueError(f"an architecture must hold at most {MAX_BLOCKS} blocks, got {count}")
        if not self.blocks:
            raise ValueError("blocks must hold at least one block, got none")
        if not self.taps:
            raise ValueError(
                "taps must name at least one feature, got none; the last block is the usual one"
            )

        self._check_read()
        self._check_idle()

    def _check_read(self) -> None:
        """Check that taps and residuals name features that exist when they are read."""
        # `.inner` is a block's first activated convolution; not every kind has one, as the network
        # checks.
        names = {f"block{i}{end}" for i in range(1, len(self.blocks) + 1) for end in ("", ".inner")}
        names |= {"stem"} if self.stem else set()
        kind = self.skip.kind if self.skip else None
        learned = kind is not None and kind not in FIXED_SKIPS
        names |= {"skip"} if learned else set()
        why = "" if learned or not self.skip else f" ({kind} is added to the output)"

        # What is read is there.
        for tap in self.taps:
            if tap not in names:
                raise ValueError(
                    f"taps: {shown(tap)} is no feature of this network{why}; known: "
                    f"{_format_names(names)}"
                )

        for residual in self.residuals:
            if feature_of(residual) not in names:
                raise ValueError(
                    f"residuals: {residual.kind!r} must name a `feature` of this network{why}, got "
                    f"{shown(feature_of(residual))}; known: {_format_names(names)}"
                )

        if len(set(self.taps)) < len(self.taps):
            raise ValueError(f"taps must name each feature once, got {shown(list(self.taps))}")

        # What is made is read: the learned skip branch, and the last block.
        read = {*self.taps, *map(feature_of, self.residuals)}
        if learned and "skip" not in read:
            raise ValueError(
                f"taps or residuals must read skip, or the {kind!r} branch leads nowhere, "
                f"got {list(self.taps)}"
            )

        last = len(self.blocks)
        if f"block{last}" not in read:
            raise ValueError(
                f"taps or residuals must read block{last}, or it is computed for nothing, got "
                f"{sorted(read)}; read it or leave it out"
            )

    def _check_idle(self) -> None:
        """Check that no layer changes nothing: with it there would be two specs of one network."""
        for name, layers in (("stem", (self.stem,)), ("blocks", self.blocks), ("tail", self.tail)):
            if any(layer is not None and layer.kind == "identity" for layer in layers):
                raise ValueError(f"{name}: identity changes nothing there; leave it out")

        kinds = [layer.kind for layer in self.wrap]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"wrap must hold each kind of layer once, got {', '.join(kinds)}")
        if self.normalise and "centre" in kinds:
            raise ValueError(
                "wrap: `centre` subtracts the mean that normalise=true subtracts; use one of them"
            )

    @property
    def arch_id(self) -> str:
        """The first 12 hexadecimal digits of a hash of what the network computes.

        Training forms and the order of residuals do not count.
        """

        data = _drop_training_forms(self.to_dict())
        if "residuals" in data:  # a sum: in any order
            # Residuals are added up: their order changes nothing.
            data["residuals"].sort(key=lambda residual: json.dumps(residual, sort_keys=True))
        # One text for one network: sorted keys, no spaces. The hash is kept in records: never
        # change it.
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; what the network does not have is absent."""
        data: dict[str, Any] = {
            "scale": self.scale,
            "normalise": self.normalise,
            "taps": list(self.taps),
        }
        data |= {
            name: part.to_dict() for name in PARTS if (part := getattr(self, name)) is not None
        }
        data |= {
            name: [p.to_dict() for p in chain] for name in CHAINS if (chain := getattr(self, name))
        }
        return data | ({"scaled_taps": True} if self.scaled_taps else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ArchSpec":
        """Return the architecture of plain data: the inverse of `to_dict`.

        Raises:
            ValueError: a field is unknown, missing or of another type.
        """
        if not isinstance(data, Mapping):
            raise ValueError(
                f"an architecture must be a mapping of fields, got {type(data).__name__}"
            )

        # All that is wrong with the fields is said before any layer is read.
        fields_known = {field.name for field in fields(cls)}
        needed = {"scale", "normalise", "blocks", "taps", "fusion", "upsampler"}
        if unknown := sorted(map(str, set(data) - fields_known)):
            raise ValueError(
                f"architecture: unknown field {shorten(', '.join(unknown))}; known: "
                f"{sorted(fields_known)}"
            )
        if missing := sorted(needed - {name for name, value in data.items() if value is not None}):
            raise ValueError(
                f"architecture: {', '.join(missing)} missing; needed: {sorted(needed)}"
            )

        # Absent is false; everything else that is absent keeps the dataclass' default.
        data = {"scaled_taps": False} | dict(data)
        if type(data["taps"]) is not list:
            raise ValueError(
                f"architecture: taps must be a list of features, got {shown(data['taps'])}"
            )

        # Single layers, then lists of layers.
        layers: dict[str, Any] = {
            name: BlockSpec.from_dict(data[name]) for name in PARTS if data.get(name) is not None
        }
        layers |= {
            name: _read_blocks(data[name], f"architecture: {name}")
            for name in CHAINS
            if name in data
        }
        return cls(
            scale=data["scale"],
            normalise=data["normalise"],
            taps=tuple(str(tap) for tap in data["taps"]),
            scaled_taps=data["scaled_taps"],
            **layers,
        )

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "ArchSpec":
        if len(text) > MAX_CHARACTERS:
            raise ValueError(
                f"architecture must be at most {MAX_CHARACTERS} characters, got {len(text)}"
            )
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"architecture is no JSON: {error}") from None
        return cls.from_dict(data)


def _format_names(names: set[str]) -> str:
    return shorten(str(sorted(names)))


def feature_of(residual: BlockSpec) -> str:
    """Return the name of the feature that a residual reads; empty where it names none."""
    return str(dict(residual.args).get("feature", ""))


def _drop_training_forms(data: Any) -> Any:
    """Return plain data without what changes training alone."""
    if isinstance(data, dict):
        return {
            name: _drop_training_forms(value)
            for name, value in data.items()
            if name != "train_form"
        }
    return [_drop_training_forms(value) for value in data] if isinstance(data, list) else data


def with_scale(spec: ArchSpec, scale: int) -> ArchSpec:
    """Return the same network for another upscale factor."""
    return replace(spec, scale=scale)
