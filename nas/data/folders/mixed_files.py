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
    """Tell HR from LR files in one folder; None where no two names differ by their tags alone."""
    stems = {file: read_stem(file.stem, scale) for file in files}
    groups: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file, stem in stems.items():
        groups[file.parent, stem.core].append(file)
    example = None
    for group in groups.values():
        low = [file for file in group if stems[file].kind in ("LR", "x")]
        high = [file for file in group if stems[file].kind in ("HR", "")]
        if low and high:
            example = high[0], low[0]
            break
    if example is None:
        return None
    lr = [file for file in files if stems[file].kind == "LR"]
    named_lr = bool(lr)
    if not named_lr:
        lr = [file for file in files if stems[file].kind == "x"]
    hr = [file for file in files if stems[file].kind == "HR"]
    if not hr:
        hr = [file for file in files if stems[file].kind == ""]
    others = [file for file in files if file not in {*lr, *hr}]
    return MixedFolder(hr, lr, others, example)


def one_of_each_kind(files: Sequence[Path], scale: int) -> tuple[list[Path], list[str]]:
    """Keep the first of several LR files of one image, as DIV2K's wild ones are: 0001x4w1 of w1 to w4."""
    wild = re.compile(rf"(?i)(.*x{scale}w)([2-9])")
    there = {file.with_suffix("").as_posix().lower() for file in files}
    further = []
    for file in files:
        found = wild.fullmatch(file.stem)
        if found and (file.parent / f"{found[1]}1").as_posix().lower() in there:
            further.append(file)
    if not further:
        return list(files), []
    gone = set(further)
    line = f"of several LR files of one image the first is used, not such as {further[0].name} ({len(further)})"
    return [file for file in files if file not in gone], [line]
