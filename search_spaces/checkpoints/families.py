"""Families of published networks: those of other width, depth and scale, which keep the released names."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from search_spaces.checkpoints.key_names import our_branch, our_name
from search_spaces.checkpoints.state_dict import Release, Shapes, plain_shapes
from search_spaces.network import build
from search_spaces.published import entry, key_patterns, names, published
from search_spaces.spec import SCALES, ArchSpec

WIDTHS = ("channels", "distilled", "hidden", "inner")  # arguments of blocks that are widths
OUR_PARTS = (
    "wrap",
    "stem",
    "blocks",
    "tap_scales",
    "fusion",
    "tail",
    "residuals",
    "upsampler",
    "skip",
)
_BLOCK = re.compile(r"(block)(\d+)")  # as taps name it
_OUR_BLOCK = re.compile(r"blocks\.(\d+)\.")


def released_entries(spec: ArchSpec) -> list[dict[str, Any]]:
    """What is known of released names for a spec: of the published network that it is, else of its relatives.

    A relative has the same parts, but other numbers (channels, blocks in its one row of equal
    blocks, scale), and, where a mark in the file tells it, other fields.
    """
    if (name := published_name(spec)) is not None:
        return [entry(name)]
    spec, found = _remove_noise(spec), []
    for name in sorted(
        names(), key=lambda name: name != "span"
    ):  # the parent of most before its heirs
        for marks, relative in _list_marked_specs(name):
            template = with_blocks(relative, len(spec.blocks))
            if template is not None and _describe_form(template) == _describe_form(spec):
                found.append(_make_entry(name, len(spec.blocks), marks))
    return found


def published_name(spec: ArchSpec) -> str | None:
    """The published network that computes what this spec computes, but for noise that it draws; or None."""
    quiet = _remove_noise(spec).arch_id
    return next((name for name in names() if published(name).arch_id == quiet), None)


def _remove_noise(spec: ArchSpec) -> ArchSpec:
    """The network without the noise that DWMamba's scan may draw: it has the same weights."""
    return ArchSpec.from_json(spec.to_json().replace('"noise":true', '"noise":false'))


def _make_entry(name: str, num_blocks: int, marks: list[str]) -> dict[str, Any]:
    patterns = key_patterns(name, num_blocks) | {re.escape(mark): "" for mark in marks}
    return entry(name) | {"name": name, "official_keys": patterns, "marks": marks}


def _list_marked_specs(name: str) -> Iterator[tuple[list[str], ArchSpec]]:
    """A published spec, and what it is with each mark that a file may hold."""
    spec = published(name)
    yield [], spec
    for mark, fields in entry(name).get("official_marks", {}).items():
        yield [mark], replace(spec, **fields)


def with_blocks(spec: ArchSpec, num_blocks: int) -> ArchSpec | None:
    """The spec with more or fewer of the blocks that it repeats; None where that cannot be.

    What names a block of the row names the one as far from the nearer end; where all are tapped,
    all are.
    """
    rows = [list(row) for _, row in groupby(spec.blocks)]
    longest = max(rows, key=len)
    before = sum(len(row) for row in rows[: rows.index(longest)])
    length = len(longest) + num_blocks - len(spec.blocks)
    if length < 1 or (length != len(longest) and len(longest) < 2):
        return None
    blocks = (*spec.blocks[:before], *longest[:1] * length, *spec.blocks[before + len(longest) :])

    def moved(feature: str) -> str:
        def place(match: re.Match[str]) -> str:
            offset = int(match[2]) - before - 1
            if offset >= len(longest) / 2:  # nearer to the end
                offset += length - len(longest)
            return f"{match[1]}{before + offset + 1}"

        return _BLOCK.sub(place, feature)

    row = [f"block{before + i}" for i in range(1, len(longest) + 1)]
    taps = tuple(map(moved, spec.taps))
    if spec.taps == tuple(row):
        taps = tuple(f"block{before + i}" for i in range(1, length + 1))
    residuals = tuple(
        replace(
            one,
            args=tuple(
                (key, moved(str(value)) if key == "feature" else value) for key, value in one.args
            ),
        )
        for one in spec.residuals
    )
    try:
        return replace(spec, blocks=blocks, taps=taps, residuals=residuals)
    except ValueError:  # so few that a tap has no block
        return None


def _describe_form(spec: ArchSpec) -> Any:
    """The parts of a spec without numbers, scale and training forms."""
    return _erase_numbers(spec.to_dict() | {"scale": 0})


def _erase_numbers(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _erase_numbers(value) for key, value in data.items() if key != "train_form"}
    if isinstance(data, list):
        return [_erase_numbers(value) for value in data]
    return 0 if type(data) is int else data


def recognise_specs(state: Mapping[str, Tensor]) -> dict[str, ArchSpec]:
    """The architectures that a state dict under released names, or ours, may be of; by `arch_id`.

    Published networks and their relatives: blocks are counted by their names, widths and scale read
    from shapes. What shapes do not tell is as published.
    """
    found: dict[str, ArchSpec] = {}
    for name in names():
        spec = _recognise_relative(name, state)
        if spec is not None:
            found.setdefault(spec.arch_id, spec)
    return found


def _recognise_relative(name: str, state: Mapping[str, Tensor]) -> ArchSpec | None:
    """The relative of a published network that a state dict fits with all its names and shapes."""
    num_blocks = _count_blocks(name, state)
    for marks, relative in _list_marked_specs(name):
        marked = all(mark in state for mark in marks)
        template = (
            with_blocks(relative, num_blocks) if marked and num_blocks <= len(state) else None
        )
        if template is None:
            continue
        released = _make_entry(name, num_blocks, marks)
        shapes = _read_plain_shapes(template, state, released)
        spec = None if shapes is None else _fit_sizes(template, shapes)
        if spec is not None and not _build_empty(spec, state, released).faults():
            return spec
    return None


def _count_blocks(name: str, state: Mapping[str, Tensor]) -> int:
    """How many blocks a state dict holds, if it is of this family; 0 where it is not."""
    patterns, marks = key_patterns(name, 0), entry(name).get("official_marks", {})
    ours = set()
    for key in state.keys() - marks.keys():
        branch = our_branch(key, patterns)
        found = f"{branch[0]}.weight" if branch else our_name(key, patterns)
        if found == key and key.partition(".")[0] not in OUR_PARTS:
            return 0  # of another family: seen before anything is built
        ours.add(found)
    if "upsampler.conv.weight" not in ours:
        return 0
    places = {int(match[1]) for key in ours if (match := _OUR_BLOCK.match(key))}
    return max(places, default=0) + (1 if 0 in places else 0)  # 0: what is named as the last one


def _read_plain_shapes(
    template: ArchSpec, state: Mapping[str, Tensor], released: Mapping[str, Any]
) -> Shapes | None:
    """The shapes of the inference form by our names, if the names are those of the template; else None."""
    release = _build_empty(template, state, released)
    shapes = {key: tuple(value.shape) for key, value in release.plain.items()}
    for conv, branches in release.branches.items():
        if "shortcut.weight" in branches:  # out and in channels as the merged convolution has them
            kernel = release.shapes[f"{conv}.weight"][2:]
            shapes[f"{conv}.weight"] = (*branches["shortcut.weight"].shape[:2], *kernel)
            shapes |= {
                f"{conv}.bias": tuple(value.shape)
                for key, value in branches.items()
                if key == "shortcut.bias"
            }
    return shapes if shapes.keys() == release.shapes.keys() else None


def _build_empty(
    spec: ArchSpec, state: Mapping[str, Tensor], released: Mapping[str, Any]
) -> Release:
    with torch.device("meta"):
        return Release(build(spec), state, released)


def _fit_sizes(template: ArchSpec, shapes: Shapes) -> ArchSpec | None:
    """The template with the scale and the widths that the shapes tell; None where they tell none that works.

    A width is a number that stands in the template as `channels` or the like, wherever it stands.
    Where another width would change the shapes, that change tells it.
    """
    scales = {3 * scale**2: scale for scale in SCALES}
    scale = scales.get(shapes["upsampler.conv.weight"][0])
    if scale is None:
        return None
    spec = replace(template, scale=scale)
    old = _find_shapes(spec)
    changes = {}
    for width in sorted(_collect_widths(spec.to_dict())):
        wider = _find_shapes(_replace_widths(spec, {width: 2 * width}))
        if wider and old:
            changes[width] = _read_width(width, old, wider, shapes)
    found = {width: new for width, new in changes.items() if new is not None}
    try:
        return _replace_widths(spec, found)
    except ValueError:  # more channels than a block may have
        return None


def _find_shapes(spec: ArchSpec) -> Shapes | None:
    """The shapes of the inference form; None where it cannot be built."""
    try:
        with torch.device("meta"):
            return plain_shapes(build(spec))
    except ValueError:
        return None


def _collect_widths(data: Any) -> set[int]:
    """The widths that stand in a spec's plain data."""
    if isinstance(data, dict):
        own = {value for key, value in data.items() if key in WIDTHS}
        return own.union(*map(_collect_widths, data.values()))
    return set().union(*map(_collect_widths, data)) if isinstance(data, list) else set()


def _replace_widths(spec: ArchSpec, new: Mapping[int, int]) -> ArchSpec:
    def replaced(data: Any) -> Any:
        if isinstance(data, dict):
            return {
                key: new.get(value, value) if key in WIDTHS else replaced(value)
                for key, value in data.items()
            }
        return [replaced(value) for value in data] if isinstance(data, list) else data

    return ArchSpec.from_dict(replaced(spec.to_dict()))


def _read_width(width: int, old: Shapes, wider: Shapes, shapes: Shapes) -> int | None:
    """The width at which the shapes would be those given, from one axis that grows with it."""
    for key, shape in old.items():
        for axis, (before, after) in enumerate(zip(shape, wider[key], strict=True)):
            if after != before and len(shapes[key]) == len(shape):
                new = width + (shapes[key][axis] - before) * width / (after - before)
                return int(new) if new >= 1 and new == int(new) else None
    return None
