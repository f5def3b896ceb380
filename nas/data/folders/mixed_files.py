"""Several kinds of files in one folder: HR with LR images, or several LR images of one HR image."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.data.folders.file_names import read_stem


@dataclass(frozen=True, slots=True)
class MixedFolder:
    """HR and LR files that lie in one folder.

    Attributes:
        hr, lr: files by what their names say.
        others: files that are neither, where HR files are named as such.
        example: an HR file and the LR file of the same name.
    """

    hr: list[Path]
    lr: list[Path]
    others: list[Path]
    example: tuple[Path, Path]


def split_mixed(files: Sequence[Path], scale: int) -> MixedFolder | None:
    """Tell HR from LR files in one folder by the tags in their names.

    Returns:
        None: no two names differ by their tags alone, so that nothing says it is mixed.
    """
    stems = {file: read_stem(file.stem, scale) for file in files}
    groups: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file, stem in stems.items():
        groups[file.parent, stem.core].append(file)

    # One HR file and one LR file of the same name without tags show that the folder is mixed.
    example = None
    for group in groups.values():
        low = [file for file in group if stems[file].kind in ("LR", "x")]
        high = [file for file in group if stems[file].kind in ("HR", "")]
        if low and high:
            example = high[0], low[0]
            break
    if example is None:
        return None

    # A word for LR or HR, where names have one, outweighs a bare scale tag or none.
    lr = [file for file in files if stems[file].kind == "LR"]
    if not lr:
        lr = [file for file in files if stems[file].kind == "x"]
    hr = [file for file in files if stems[file].kind == "HR"]
    if not hr:
        hr = [file for file in files if stems[file].kind == ""]
    others = [file for file in files if file not in {*lr, *hr}]
    return MixedFolder(hr, lr, others, example)


def one_of_each_kind(files: Sequence[Path], scale: int) -> tuple[list[Path], list[str]]:
    """Keep the first of several LR files of one image, such as 0001x4w1 of DIV2K's w1 to w4.

    Returns:
        The files that are kept, and a notice on the others.
    """
    # DIV2K's wild track degrades each image four ways, w1 to w4.
    wild = re.compile(rf"(?i)(.*x{scale}w)([2-9])")
    present = {file.with_suffix("").as_posix().lower() for file in files}
    further = []
    for file in files:
        match = wild.fullmatch(file.stem)
        if match and (file.parent / f"{match[1]}1").as_posix().lower() in present:
            further.append(file)
    if not further:
        return list(files), []

    dropped = set(further)
    line = (
        "of several LR files of one image the first is used, not such as "
        f"{further[0].name} ({len(further)})"
    )
    return [file for file in files if file not in dropped], [line]
