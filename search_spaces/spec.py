"""What an architecture is: immutable, JSON in and out, and a hash of what it computes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

Scalar = str | int | float | bool

SCALES = (2, 3, 4)
FIXED_SKIPS = ("bilinear", "nearest")  # added to the output; any other is learned and ends in the tap `skip`
MIN_VALUES = {"channels": 1, "kernel": 1, "gain": 1}
RESERVED = ("kind", "blocks", "train_form")  # of a block's mapping: no arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """One part of a network: its kind and every argument of it, the usual ones too.

    Attributes:
        kind: as `search_spaces.blocks` knows it.
        args: sorted by name.
        blocks: what a group holds, in order; other kinds hold none.
        train_form: how its dense convolutions are held in training, in place of the architecture's
            `train_form` or, within a group, the group's; `none` keeps them plain. No part of `arch_id`.
    """

    kind: str
    args: tuple[tuple[str, Scalar], ...]
    blocks: "tuple[BlockSpec, ...]" = ()
    train_form: "BlockSpec | None" = None

    @classmethod
    def of(cls, kind: str, /, **args: Scalar) -> "BlockSpec":
        return cls(kind=kind, args=tuple(sorted(args.items())))

    def __post_init__(self) -> None:
        for name, value in self.args:
            if name not in MIN_VALUES:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < MIN_VALUES[name]:
                raise ValueError(
                    f"{self.kind}.{name} must be a whole number of at least {MIN_VALUES[name]}, got {value!r}"
                )
            if name == "kernel" and value % 2 == 0:
                raise ValueError(
                    f"{self.kind}.kernel must be odd to keep height and width, got {value}; use 1, 3 or 5"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what the block does not have is absent."""
        data: dict[str, Any] = {"kind": self.kind, **dict(self.args)}
        if self.blocks:
            data["blocks"] = [block.to_dict() for block in self.blocks]
        if self.train_form:
            data["train_form"] = self.train_form.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "BlockSpec":
        """The inverse of `to_dict`.

        Raises:
            ValueError: it is no mapping with a kind, or an argument is neither text nor number.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
            raise ValueError(f"a block must be a mapping with a `kind`, got {data!r}")
        args = {name: value for name, value in data.items() if name not in RESERVED}
        for name, value in args.items():
            if not isinstance(value, str | int | float | bool):
                raise ValueError(f"{data['kind']}.{name} must be text, a number or true/false, got {value!r}")
        form = data.get("train_form")
        return cls(
            kind=data["kind"],
            args=tuple(sorted(args.items())),
            blocks=_blocks(data.get("blocks", []), f"{data['kind']}.blocks"),
            train_form=None if form is None else cls.from_dict(form),
        )


def _blocks(data: Any, name: str) -> tuple[BlockSpec, ...]:
    if type(data) is not list:
        raise ValueError(f"{name} must be list, got {data!r}")
    return tuple(BlockSpec.from_dict(block) for block in data)


PARTS = ("stem", "fusion", "upsampler", "skip", "train_form")
CHAINS = ("wrap", "blocks", "tail", "residuals")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSpec:
    """A network in one grammar: image -> stem -> blocks -> fusion of tapped features -> upsampler.

    Attributes:
        scale: upscale factor: 2, 3 or 4.
        normalise: the body sees 255 * (image - DIV2K mean), as SPAN does; else the image itself.
        wrap: what is done to the image first and undone at the end, outermost first: `pad` to a multiple of
            some pixels, `centre` on the DIV2K mean.
        stem: first layer; None lets the first block take the image.
        blocks: the body, in order; block i is named `block<i>`, from 1.
        taps: the features that are concatenated for the fusion, in channel order: `stem`, `skip`,
            `block<i>`, or `block<i>.inner`, the block's first activated convolution.
        scaled_taps: each tap is multiplied by a learned number a channel first.
        fusion: layer over the concatenated taps.
        tail: blocks after the fusion.
        residuals: what is added to their output: each a layer with the argument `feature`, the tap that it
            reads; `identity` adds the feature itself.
        upsampler: layer from that sum to the image.
        skip: branch from the image past the body: a learned one (`near`) ends in the tap `skip`, a
            fixed one (`bilinear`, `nearest`) is added to the output. None: no branch.
        train_form: how the dense convolutions of stem and blocks are held in training, a kind of
            `search_spaces.reparam`; other parts may name their own. It does not change what the network
            computes and is no part of `arch_id`.
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
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {SCALES}, got {self.scale!r}")
        if not self.blocks:
            raise ValueError("blocks must hold at least one block, got none")
        if not self.taps:
            raise ValueError("taps must name at least one feature, got none; the last block is the usual one")
        names = {f"block{i}{end}" for i in range(1, len(self.blocks) + 1) for end in ("", ".inner")}
        names |= {"stem"} if self.stem else set()
        names |= {"skip"} if self.skip else set()
        for tap in self.taps:
            if tap not in names:
                raise ValueError(f"taps: {tap!r} is no feature of this network; known: {sorted(names)}")
        for residual in self.residuals:
            if feature_of(residual) not in names:
                raise ValueError(
                    f"residuals: {residual.kind!r} must name a `feature` of this network, got "
                    f"{feature_of(residual)!r}; known: {sorted(names)}"
                )
        if self.skip and self.skip.kind not in FIXED_SKIPS and "skip" not in self.taps:
            raise ValueError(
                f"taps must name skip, or the {self.skip.kind!r} branch leads nowhere, got {self.taps}"
            )
        if self.normalise and any(layer.kind == "centre" for layer in self.wrap):
            raise ValueError(
                "wrap: `centre` subtracts the mean that normalise=true subtracts; use one of them"
            )

    @property
    def arch_id(self) -> str:
        """Short stable hash of what the network computes."""
        data = _computed(self.to_dict())
        if "residuals" in data:  # a sum: in any order
            data["residuals"].sort(key=lambda residual: json.dumps(residual, sort_keys=True))
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what the network does not have is absent."""
        data: dict[str, Any] = {"scale": self.scale, "normalise": self.normalise, "taps": list(self.taps)}
        data |= {name: part.to_dict() for name in PARTS if (part := getattr(self, name)) is not None}
        data |= {name: [p.to_dict() for p in chain] for name in CHAINS if (chain := getattr(self, name))}
        return data | ({"scaled_taps": True} if self.scaled_taps else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ArchSpec":
        """The inverse of `to_dict`.

        Raises:
            ValueError: a field is unknown, missing or of another type.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"an architecture must be a mapping of fields, got {type(data).__name__}")
        known = {field.name for field in fields(cls)}
        needed = {"scale", "normalise", "blocks", "taps", "fusion", "upsampler"}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"architecture: unknown field {', '.join(unknown)}; known: {sorted(known)}")
        if missing := sorted(needed - set(data)):
            raise ValueError(f"architecture: {', '.join(missing)} missing; needed: {sorted(needed)}")
        data = {"scaled_taps": False} | dict(data)
        kinds = (("scale", int), ("normalise", bool), ("taps", list), ("scaled_taps", bool))
        for name, kind in kinds:
            if type(data[name]) is not kind:
                raise ValueError(f"architecture: {name} must be {kind.__name__}, got {data[name]!r}")
        given: dict[str, Any] = {
            name: BlockSpec.from_dict(data[name]) for name in PARTS if data.get(name) is not None
        }
        given |= {name: _blocks(data[name], f"architecture: {name}") for name in CHAINS if name in data}
        return cls(
            scale=data["scale"],
            normalise=data["normalise"],
            taps=tuple(str(tap) for tap in data["taps"]),
            scaled_taps=data["scaled_taps"],
            **given,
        )

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "ArchSpec":
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"architecture is no JSON: {error}") from None
        return cls.from_dict(data)


def feature_of(residual: BlockSpec) -> str:
    """The feature that a residual reads; empty where it names none."""
    return str(dict(residual.args).get("feature", ""))


def _computed(data: Any) -> Any:
    """Plain data without what changes training alone."""
    if isinstance(data, dict):
        return {name: _computed(value) for name, value in data.items() if name != "train_form"}
    return [_computed(value) for value in data] if isinstance(data, list) else data


def with_scale(spec: ArchSpec, scale: int) -> ArchSpec:
    """The same network for another upscale factor."""
    return replace(spec, scale=scale)
