"""Families of published networks: other widths, depths and scales share the released names."""

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
    """Return what is known of released names for a spec.

    That is the entry of the published network that it is, else those of networks it is a relative
    of.


    A relative has the same parts, but other numbers (channels, blocks in its one row of equal
    blocks, scale), and, where a mark in the file tells it, other fields.
    """
    if (name := published_name(spec)) is not None:
        return [entry(name)]

    spec, entries = _remove_noise(spec), []
    for name in sorted(
        names(), key=lambda name: name != "span"
    ):  # the parent of most before its heirs
        for marks, relative in _list_marked_specs(name):
            template = with_blocks(relative, len(spec.blocks))
            if template is not None and _describe_form(template) == _describe_form(spec):
                entries.append(_make_entry(name, len(spec.blocks), marks))
    return entries


def published_name(spec: ArchSpec) -> str | None:
    """Return the name of the published network that a spec is, noise aside.

    None where it is none.
    """
    # `arch_id` counts the noise, which no weight of a file depends on.
    quiet = _remove_noise(spec).arch_id
    return next((name for name in names() if published(name).arch_id == quiet), None)


def _remove_noise(spec: ArchSpec) -> ArchSpec:
    """Return the network without the noise that DWMamba may draw: its weights are the same."""
    return ArchSpec.from_json(spec.to_json().replace('"noise":true', '"noise":false'))


def _make_entry(name: str, num_blocks: int, marks: list[str]) -> dict[str, Any]:
    patterns = key_patterns(name, num_blocks) | {re.escape(mark): "" for mark in marks}
    return entry(name) | {"name": name, "official_keys": patterns, "marks": marks}


def _list_marked_specs(name: str) -> Iterator[tuple[list[str], ArchSpec]]:
    """Yield a published spec, and what it is with each mark that a file may hold."""
    spec = published(name)
    yield [], spec
    for mark, fields in entry(name).get("official_marks", {}).items():
        yield [mark], replace(spec, **fields)


def with_blocks(spec: ArchSpec, num_blocks: int) -> ArchSpec | None:
    """Return the spec with more or fewer of the blocks that it repeats; None where that cannot be.

    What names a block of the row names the one as far from the nearer end; where all are tapped,
    all are.
    """
    # Rows of equal blocks; the longest is the one that grows or shrinks.
    rows = [list(row) for _, row in groupby(spec.blocks)]
    longest = max(rows, key=len)
    before = sum(len(row) for row in rows[: rows.index(longest)])
    length = len(longest) + num_blocks - len(spec.blocks)
    if length < 1 or (length != len(longest) and len(longest) < 2):
        return None
    blocks = (*spec.blocks[:before], *longest[:1] * length, *spec.blocks[before + len(longest) :])

    def move_feature(feature: str) -> str:
        def place(match: re.Match[str]) -> str:
            # Blocks near the end keep their distance to the end, others that to the beginning.
            offset = int(match[2]) - before - 1
            if offset >= len(longest) / 2:  # nearer to the end
                offset += length - len(longest)
            return f"{match[1]}{before + offset + 1}"

        return _BLOCK.sub(place, feature)

    # What reads the row is moved along.
    row = [f"block{before + i}" for i in range(1, len(longest) + 1)]
    taps = tuple(map(move_feature, spec.taps))
    if spec.taps == tuple(row):
        taps = tuple(f"block{before + i}" for i in range(1, length + 1))

    residuals = tuple(
        replace(
            residual,
            args=tuple(
                (key, move_feature(str(value)) if key == "feature" else value)
                for key, value in residual.args
            ),
        )
        for residual in spec.residuals
    )
    try:
        return replace(spec, blocks=blocks, taps=taps, residuals=residuals)
    except ValueError:  # so few that a tap has no block
        return None


def _describe_form(spec: ArchSpec) -> Any:
    """Return the parts of a spec without numbers, scale and training forms: alike in a family."""
    # Channels, kernels and counts are what relatives may differ in.
    return _erase_numbers(spec.to_dict() | {"scale": 0})


def _erase_numbers(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _erase_numbers(value) for key, value in data.items() if key != "train_form"}
    if isinstance(data, list):
        return [_erase_numbers(value) for value in data]
    return 0 if type(data) is int else data


def recognise_specs(state: Mapping[str, Tensor]) -> dict[str, ArchSpec]:
    """Return the architectures that a state dict may be of, by `arch_id`.

    Names are released ones or ours.

    Published networks and their relatives: blocks are counted by their names, widths and scale read
    from shapes. What shapes do not tell is as published.
    """
    specs: dict[str, ArchSpec] = {}
    for name in names():
        spec = _recognise_relative(name, state)
        if spec is not None:
            specs.setdefault(spec.arch_id, spec)
    return specs


def _recognise_relative(name: str, state: Mapping[str, Tensor]) -> ArchSpec | None:
    """Return the relative of a published network that a state dict fits with names and shapes."""
    num_blocks = _count_blocks(name, state)
    for marks, relative in _list_marked_specs(name):
        marked = all(mark in state for mark in marks)
        template = (
            with_blocks(relative, num_blocks) if marked and num_blocks <= len(state) else None
        )
        if template is None:
            continue

        # Sizes are read from the shapes; then the whole state has to fit what they make.
        released = _make_entry(name, num_blocks, marks)
        shapes = _read_plain_shapes(template, state, released)
        spec = None if shapes is None else _fit_sizes(template, shapes)
        if spec is not None and not _build_empty(spec, state, released).faults():
            return spec
    return None


def _count_blocks(name: str, state: Mapping[str, Tensor]) -> int:
    """Return how many blocks a state dict holds if it is of this family; 0 where it is not."""
    patterns, marks = key_patterns(name, 0), entry(name).get("official_marks", {})
    ours = set()
    for key in state.keys() - marks.keys():
        branch = our_branch(key, patterns)
        our_key = f"{branch[0]}.weight" if branch else our_name(key, patterns)
        if our_key == key and key.partition(".")[0] not in OUR_PARTS:
            return 0  # of another family: seen before anything is built
        ours.add(our_key)
    if "upsampler.conv.weight" not in ours:
        return 0

    places = {int(match[1]) for key in ours if (match := _OUR_BLOCK.match(key))}
    return max(places, default=0) + (1 if 0 in places else 0)  # 0: what is named as the last one


def _read_plain_shapes(
    template: ArchSpec, state: Mapping[str, Tensor], released: Mapping[str, Any]
) -> Shapes | None:
    """Return the shapes of the inference form by our names.

    None if the names are not the template's.
    """
    release = _build_empty(template, state, released)
    shapes = {key: tuple(value.shape) for key, value in release.plain.items()}

    # Of a convolution that is stored as branches alone, the shortcut has the merged widths.
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
    """Return the template with the scale and the widths of some shapes; None where they tell none.

    A width is a number that stands in the template as `channels` or the like, wherever it stands.
    Where another width would change the shapes, that change tells it.
    """
    scales = {3 * scale**2: scale for scale in SCALES}
    scale = scales.get(shapes["upsampler.conv.weight"][0])
    if scale is None:
        return None
    spec = replace(template, scale=scale)

    # Double one width after the other: what that changes of the shapes tells the width.
    old = _find_shapes(spec)
    changes = {}
    for width in sorted(_collect_widths(spec.to_dict())):
        wider = _find_shapes(_replace_widths(spec, {width: 2 * width}))
        if wider and old:
            changes[width] = _read_width(width, old, wider, shapes)
    sizes = {width: new for width, new in changes.items() if new is not None}
    try:
        return _replace_widths(spec, sizes)
    except ValueError:  # more channels than a block may have
        return None


def _find_shapes(spec: ArchSpec) -> Shapes | None:
    """Return the shapes of the inference form; None where it cannot be built."""
    try:
        with torch.device("meta"):
            return plain_shapes(build(spec))
    except ValueError:
        return None


def _collect_widths(data: Any) -> set[int]:
    """Return the widths that stand in a spec's plain data."""
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
    """Return the width at which the shapes would be those given, from one axis that grows."""
    for key, shape in old.items():
        for axis, (before, after) in enumerate(zip(shape, wider[key], strict=True)):
            if after != before and len(shapes[key]) == len(shape):
                # The axis grows linearly with the width.
                new = width + (shapes[key][axis] - before) * width / (after - before)
                return int(new) if new >= 1 and new == int(new) else None
    return None
