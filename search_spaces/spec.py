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


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """One part of a network: its kind and every argument of it, the usual ones too."""

    kind: str
    args: tuple[tuple[str, Scalar], ...]

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

    def to_dict(self) -> dict[str, Scalar]:
        return {"kind": self.kind, **dict(self.args)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Scalar]) -> "BlockSpec":
        if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
            raise ValueError(f"a block must be a mapping with a `kind`, got {data!r}")
        for name, value in data.items():
            if not isinstance(value, str | int | float | bool):
                raise ValueError(f"{data['kind']}.{name} must be text, a number or true/false, got {value!r}")
        return cls.of(str(data["kind"]), **{name: value for name, value in data.items() if name != "kind"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSpec:
    """A network in one grammar: stem, blocks, fusion of tapped features, upsampler, skip branch.

    Attributes:
        scale: upscale factor: 2, 3 or 4.
        normalise: the body sees 255 * (image - DIV2K mean), as SPAN does; else the image itself.
        stem: first layer; None lets the first block take the image.
        blocks: the body, in order; block i is named `block<i>`, from 1.
        taps: the features that are concatenated for the fusion, in channel order: `stem`, `skip`,
            `block<i>`, or `block<i>.inner`, the block's first activated convolution.
        fusion: layer over the concatenated taps.
        upsampler: layer from the fused features to the image.
        skip: branch from the image past the body: a learned one (`near`) ends in the tap `skip`, a
            fixed one (`bilinear`, `nearest`) is added to the output. None: no branch.
        train_form: how the dense 3x3 convolutions of stem and blocks are held in training. It does
            not change what the network computes and is no part of `arch_id`.
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
        if self.skip and self.skip.kind not in FIXED_SKIPS and "skip" not in self.taps:
            raise ValueError(
                f"taps must name skip, or the {self.skip.kind!r} branch leads nowhere, got {self.taps}"
            )

    @property
    def arch_id(self) -> str:
        """Short stable hash of what the network computes."""
        data = self.to_dict()
        data.pop("train_form", None)
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what the network does not have is absent."""
        data: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if isinstance(value, BlockSpec):
                value = value.to_dict()
            elif field.name == "blocks":
                value = [block.to_dict() for block in value]
            elif field.name == "taps":
                value = list(value)
            data[field.name] = value
        return data

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
        for name, kind in (("scale", int), ("normalise", bool), ("blocks", list), ("taps", list)):
            if type(data[name]) is not kind:
                raise ValueError(f"architecture: {name} must be {kind.__name__}, got {data[name]!r}")
        parts = {
            name: BlockSpec.from_dict(data[name])
            for name in ("fusion", "upsampler", "stem", "skip", "train_form")
            if data.get(name) is not None
        }
        return cls(
            scale=data["scale"],
            normalise=data["normalise"],
            blocks=tuple(BlockSpec.from_dict(block) for block in data["blocks"]),
            taps=tuple(str(tap) for tap in data["taps"]),
            **parts,
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


def with_scale(spec: ArchSpec, scale: int) -> ArchSpec:
    """The same network for another upscale factor."""
    return replace(spec, scale=scale)
