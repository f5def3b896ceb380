"""LR files named by a user's own rule, such as a_hr_1 and a_small_1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path


def match_renamed(hr_files: Sequence[Path], lr_files: Sequence[Path]) -> dict[Path, Path]:
    """Pair HR and LR files whose names agree in the part that varies: a_hr_1, a_small_1.

    Gives all pairs or none: every HR file has exactly one LR file and no LR file is left over.
    """
    hr, lr = _varying_parts(hr_files), _varying_parts(lr_files)
    same = set(hr) == set(lr) and len(hr) == len(hr_files) and len(lr) == len(lr_files)
    return {file: lr[part] for part, file in hr.items()} if same else {}


def _varying_parts(files: Sequence[Path]) -> dict[str, Path]:
    """Map what varies in the names to the files: stems without their common start and end.

    Numbers stay whole.
    """
    stems = [file.stem for file in files]
    start = re.sub(r"\d+\Z", "", _common_start(stems))
    rest = [stem[len(start) :] for stem in stems]
    end = _common_start([stem[::-1] for stem in rest])[::-1]
    end = re.sub(r"\A\d+", "", end)
    return {stem[: len(stem) - len(end)]: file for stem, file in zip(rest, files, strict=True)}


def _common_start(texts: Sequence[str]) -> str:
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in alike)
