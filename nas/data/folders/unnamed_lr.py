"""LR images that only their sizes tell: they are 1/scale of their HR image."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.data.folders.file_names import SCALES, read_stem
from nas.data.folders.folder_names import child_folders, own_images
from nas.data.pixels.images import ImageError, read_size
from nas.data.sets import Pair

_ENOUGH = 0.25  # of the images, in pairs or tagged as LR: below it they are told, not refused
_MAX_FOLDERS = 20  # beside or below the HR images that are looked into
_MAX_LOOKED_AT = 3  # HR images for which these are searched
_TOKEN = re.compile(r"x\d(?!\d)|\d+x(?![^\W\d_])|[^\W\d_]+|\d+")  # x4, 4x, a word, a number
_SAY_NOTHING = frozenset({"im", "img", "image", "photo", "pic", "picture", "frame"})
_SMALLER_COPY = re.compile(
    r"T\d\Z"
)  # 0001T2: a multi-scale copy to train on, as BasicSR names them

Size = tuple[int, int]
_Core = tuple[str, ...]
_Owners = defaultdict[
    tuple[_Core, bool], list[Path]
]  # files by a core, and whether it is all of the name


@dataclass(frozen=True, slots=True)
class SmallCopy:
    """An image and another one that is 1/scale of it and of its name."""

    large: Path
    small: Path


def check_all_hr(pairs: Sequence[Pair], scale: int, key: str) -> list[str]:
    """Check that images taken as HR are no LR images; return a notice where a few may be.

    Args:
        pairs: images without LR files, with their sizes.
        scale: of LR to HR.
        key: what their folder was given as, for messages.
    Raises:
        ValueError: sizes or names say that HR and LR images are mixed.
    """
    copies = find_small_copies(pairs, scale)

    # Pairs by size and name: many of them mean that HR and LR are mixed.
    if copies:
        line = _describe_copies(copies, len(pairs), scale)
        if 2 * len(copies) >= _ENOUGH * len(pairs):
            raise ValueError(f"{key}: {line}; {_describe_way_out(copies[0], key)}")
        return [f"{key}: {line}; they are taken as HR images"]

    # No pairs, but names that say LR.
    low = [
        pair.hr
        for pair in pairs
        if any(read_stem(pair.hr.stem, one).kind in ("LR", "x") for one in SCALES)
    ]

    if _ENOUGH * len(pairs) <= len(low) < len(pairs):
        raise ValueError(
            f"{key}: {len(low)} of {len(pairs)} images are LR ones by their names, such as "
            f"{_shorten_name(low[0].name)}, but have no HR image; take them out, or say that all "
            f"are HR images: {_lr_key(key)}=none"
        )
    return []


def find_small_copies(pairs: Sequence[Pair], scale: int) -> list[SmallCopy]:
    """Find images that are 1/scale of another one, rounded, and whose names share their core."""
    by_size: defaultdict[Size, list[Path]] = defaultdict(list)
    for pair in pairs:
        by_size[pair.size].append(pair.hr)
    copies = []
    for size, large in by_size.items():
        small = [file for one in _lr_sizes(size, scale) for file in by_size.get(one, ())]
        copies += _match_cores(large, small, scale)
    return copies


def tell_lr_beside(pairs: Sequence[Pair], folder: Path, scale: int, key: str) -> list[str]:
    """Tell of folders beside or in an HR folder that hold its LR images and are not used."""
    found = _find_lr_beside(pairs, folder, scale)
    if not found:
        return []
    names = ", ".join(str(one.relative_to(folder.parent)) for one in found[:_MAX_LOOKED_AT])
    takes = "" if _is_source(key) else f": {_lr_key(key)}=FOLDER takes them"
    return [
        f"{key}: images of 1/{scale} of the size and of the same names lie in {folder.parent}, "
        f"{names}, and are not used{takes}"
    ]


def _find_lr_beside(pairs: Sequence[Pair], folder: Path, scale: int) -> list[Path]:
    """Find folders beside or in an HR folder that hold its LR images by size and name."""
    # Folders inside the HR folder, and its siblings.
    own = {pair.hr.parent for pair in pairs}
    around = [*child_folders(folder), *child_folders(folder.parent)]

    # A few images, evenly spread, stand for all: this runs at every start.
    chosen = {
        pair.hr: pair for pair in pairs[:: max(1, len(pairs) // _MAX_LOOKED_AT)][:_MAX_LOOKED_AT]
    }

    found = []
    for other in around if chosen and len(around) <= _MAX_FOLDERS else ():
        if other in own or any(other in one.parents for one in own):
            continue

        # Names first, which cost nothing; sizes are read of files that match.
        copies = _match_cores(list(chosen), own_images(other), scale)
        fitting = [
            one
            for one in copies
            if _read_size_or_none(one.small) in _lr_sizes(chosen[one.large].size, scale)
        ]
        if len(fitting) == len(chosen):
            found.append(other)
    return found


def _lr_sizes(size: Size, scale: int) -> set[Size]:
    height, width = ({side // scale, -(-side // scale)} for side in size)
    return {(h, w) for h in height for w in width}


def _read_size_or_none(file: Path) -> Size | None:
    try:
        return read_size(file)
    except ImageError:
        return None


def _match_cores(large: Sequence[Path], small: Sequence[Path], scale: int) -> list[SmallCopy]:
    """Pair files whose names share their core, each file once."""
    # An HR file is found by any of the parts of its name that may name the scene.
    owners: _Owners = defaultdict(list)
    for file in large if small else ():
        for named in _list_cores(file, scale):
            owners[named].append(file)

    copies: list[SmallCopy] = []
    taken: set[Path] = set()
    for file in small:
        found = (_find_owner(owners, *named, taken) for named in _list_cores(file, scale))
        owner = next((one for one in found if one is not None), None)
        if owner is not None and not _SMALLER_COPY.search(file.stem):
            taken.add(owner)
            copies.append(SmallCopy(owner, file))
    return copies


def _find_owner(owners: _Owners, core: _Core, is_whole: bool, taken: set[Path]) -> Path | None:
    """Find an image of this core that is not taken.

    A part of one name's numbers has to be all of the other's.
    """
    for other_is_whole in (True, False) if is_whole else (True,):
        files = owners.get((core, other_is_whole), [])
        while files and files[-1] in taken:
            files.pop()
        if files:
            return files[-1]
    return None


def _list_cores(file: Path, scale: int) -> Iterator[tuple[_Core, bool]]:
    """Yield what may name the scene in a file's name, the likeliest first.

    Each comes with whether it is all of the name that may.

    The name without its tags; its numbers, and the first or last of them (im1_lr4 is of im1); its
    words where it has no numbers.
    """
    core = read_stem(file.stem, scale).core.casefold()
    yield ("name", core), True

    tokens: list[str] = _TOKEN.findall(core)
    numbers = [token.lstrip("0") or "0" for token in tokens if token.isdecimal()]

    if numbers:
        yield ("numbers", *numbers), True
        for end in range(len(numbers) - 1, 0, -1):
            yield ("numbers", *numbers[:end]), False
            yield ("numbers", *numbers[-end:]), False
    else:
        # The longest word first: it says most.
        words = {token for token in tokens if token.isalpha() and len(token) > 1} - _SAY_NOTHING
        yield from (
            (("word", word), True) for word in sorted(words, key=lambda word: (-len(word), word))
        )


def _describe_copies(copies: Sequence[SmallCopy], count: int, scale: int) -> str:
    large, small = copies[0].large, copies[0].small
    names = [one.name for one in (small, large)]
    if large.parent != small.parent:
        names = [f"{one.parent.name}/{one.name}" for one in (small, large)]
    return (
        f"{_shorten_name(names[0])} has 1/{scale} of the size of {_shorten_name(names[1])}, as its "
        f"LR image has ({len(copies)} pairs in {count} images)"
    )


def _describe_way_out(copy: SmallCopy, key: str) -> str:
    high, low = "HR_FOLDER", "LR_FOLDER"
    if copy.large.parent != copy.small.parent:
        high, low = (f".../{_shorten_name(one.parent.name)}" for one in (copy.large, copy.small))
    named = "data.train" if _is_source(key) else key
    return (
        f"name two folders, {named}={high} {_lr_key(named)}={low}, or, if all are HR images, "
        f"{_lr_key(key)}=none"
    )


def _lr_key(key: str) -> str:
    return "data.lr_train" if key == "data.train" else "data.lr"


def _is_source(key: str) -> bool:
    return key.startswith("data.sources.")


def _shorten_name(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"...{name[3 - most :]}"
