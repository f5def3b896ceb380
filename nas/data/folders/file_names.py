"""HR and LR files paired by their names, where people tag one or both."""

from __future__ import annotations

import functools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nas.data.folders.folder_names import HR_WORD, KERNEL_WORD, LR_WORD
from nas.data.folders.renamed_files import match_renamed

Kind = Literal["HR", "LR", "x", ""]  # x: a scale tag alone, as DIV2K names its LR files
SCALES = (2, 3, 4, 8)  # in the names of files
_SEPARATOR = r"[_\-. (\[]"
_LR_TAG = rf"(?:{KERNEL_WORD})?(?:{LR_WORD})(?:{KERNEL_WORD})?"


@dataclass(frozen=True, slots=True)
class Stem:
    """A file's name without its tags.

    Attributes:
        core: what is left.
        kind: what the tags say that the file holds.
    """

    core: str
    kind: Kind


def read_stem(stem: str, scale: int) -> Stem:
    """Strip all tags from a name, such as baby_x4, LR_baby or img_001_SRF_4_LR.

    A scale tag counts for this scale alone: baby_x2 is no LR file of scale 4. A name that is
    nothing but tags keeps them.
    """
    kinds: list[Kind] = []
    core = stem
    # Tags stand before a name or behind it, several of them perhaps.
    prefix = _prefix_pattern(scale).match(core)
    if prefix:
        kinds.append("HR" if prefix[1] else "LR")
        core = core[prefix.end() :]
    while cut := _cut_tag(core, scale):
        core, kind = cut
        kinds.append(kind)
    # A word says more than a factor: baby_HR_x4 is an HR file.
    named = [kind for kind in kinds if kind in ("HR", "LR")]
    return Stem(core, named[0] if named else "x" if "x" in kinds else "")


def _cut_tag(stem: str, scale: int) -> tuple[str, Kind] | None:
    """Cut the last tag off a name; None where there is none or nothing would be left."""
    for pattern, kind in _list_tags(scale):
        found = pattern.search(stem)
        if found and found.start() > 0:
            return stem[: found.start()], kind
    return None


@functools.cache
def _list_tags(scale: int) -> tuple[tuple[re.Pattern[str], Kind], ...]:
    """List the patterns of tags that a name may end in, each with what it says of the file."""
    rules: tuple[tuple[str, Kind], ...] = (
        (
            rf"(?i:{_SEPARATOR}*x{scale}(?:[md]|w\d?)?|{_SEPARATOR}+{scale}x)",
            "x",
        ),  # m, d, w1: DIV2K's mild, ...
        (rf"(?i:{_SEPARATOR}+srf{_SEPARATOR}*{scale})", "x"),
        (rf"(?i:{_SEPARATOR}+(?:{HR_WORD})(?:mod\d+)?)|(?<=[a-z0-9])(?:HR|GT)", "HR"),
        (rf"(?i:{_SEPARATOR}+{_LR_TAG}{scale}?)|(?<=[a-z0-9])LR(?:BI)?{scale}?", "LR"),
        (rf"(?i:{_SEPARATOR}+(?:{KERNEL_WORD}))", "x"),
        (rf"(?i:{_SEPARATOR}+mod\d+)", ""),
    )
    return tuple((re.compile(rf"(?:{pattern})[)\]]?\Z"), kind) for pattern, kind in rules)


@functools.cache
def _prefix_pattern(scale: int) -> re.Pattern[str]:
    return re.compile(
        rf"(?i)(?:(hr|gt|hq)|({_LR_TAG}))(?:{_SEPARATOR}*x{scale})?{_SEPARATOR}+(?=.)"
    )


@dataclass(frozen=True, slots=True)
class Matches:
    """Which LR file belongs to which HR file.

    Attributes:
        lr_of: the LR file of each HR file that has one.
        left_over: LR files that no HR file claims.
        unclear: for other HR files why none was taken.
    """

    lr_of: dict[Path, Path]
    left_over: list[Path]
    unclear: dict[Path, str]


def match_files(
    hr_files: Sequence[Path], lr_files: Sequence[Path], *, hr_root: Path, lr_root: Path, scale: int
) -> Matches:
    """Find the LR file of each HR file by name.

    Equal names go first, then LR names without one tag, without all tags, and both without all
    tags, each within the same subfolder and then wherever the file lies. The rule that pairs most
    files is taken, and the others for what it leaves. An LR file that two HR files could claim is
    given to none. Where no rule pairs any, names that differ by one and the same part throughout
    are paired.
    """
    # Every rule is tried on all files; one that pairs them all is right.
    hr_split, lr_split = _split_names(hr_files, hr_root), _split_names(lr_files, lr_root)
    tables: list[_Table] = []
    lr_of: dict[Path, Path] = {}
    for rule in _RULES:
        of_hr, of_lr, nested = rule
        hr_keys = _make_keys(hr_split, of_hr, scale, nested=nested)
        lr_keys = _make_keys(lr_split, of_lr, scale, nested=nested)
        tables.append((dict(zip(hr_files, hr_keys, strict=True)), _group_by_key(lr_files, lr_keys)))
        found = _pair_by_key(hr_files, tables[-1], taken=set())
        if len(found) > len(lr_of):
            lr_of = found
        if len(found) == len(hr_files):
            return Matches(found, _find_left_over(lr_files, found.values()), {})

    # Where subfolders agree for some, a file of another subfolder is no partner for the rest.
    by_folder = [table for table, rule in zip(tables, _RULES, strict=True) if rule[2]]
    best = max((_pair_by_key(hr_files, table, taken=set()) for table in by_folder), key=len)
    if best:
        tables, lr_of = by_folder, best
    for table in tables:
        lr_of |= _pair_by_key(
            [hr for hr in hr_files if hr not in lr_of], table, taken=set(lr_of.values())
        )

    # What two could claim is left to the user: a wrong pair trains on noise.
    unclear = _find_unclear(hr_files, lr_of, tables)
    if not lr_of and not unclear:
        lr_of = match_renamed(hr_files, lr_files)
    lr_of = {hr: lr for hr, lr in lr_of.items() if hr not in unclear}
    # LR files that are claimed by an unclear HR file are not left over.
    spoken_for = set(lr_of.values()) | {
        file
        for hr in unclear
        for hr_key, lr_by_key in tables
        for file in lr_by_key.get(hr_key[hr], ())
    }
    return Matches(lr_of, _find_left_over(lr_files, spoken_for), unclear)


def _find_left_over(lr_files: Sequence[Path], used: Iterable[Path]) -> list[Path]:
    gone = set(used)
    return [file for file in lr_files if file not in gone]


def _pair_by_key(hr_files: Sequence[Path], table: _Table, *, taken: set[Path]) -> dict[Path, Path]:
    """Pair the HR files with LR files of the same key, where each side has one of it."""
    hr_key, lr_by_key = table
    # Two HR files with one key have no pair: which is meant is not told.
    claims: defaultdict[str, list[Path]] = defaultdict(list)
    for hr in hr_files:
        claims[hr_key[hr]].append(hr)

    found = {}
    for key, claimants in claims.items():
        free = [file for file in lr_by_key.get(key, ()) if file not in taken]
        if len(claimants) == 1 and len(free) == 1:
            found[claimants[0]] = free[0]
    return found


def _find_unclear(
    hr_files: Sequence[Path],
    lr_of: dict[Path, Path],
    tables: Sequence[_Table],
) -> dict[Path, str]:
    """Say for each HR file without an LR file which ones it could have, and who holds them."""
    # An LR file may be held by an HR file that claims it by a weaker rule.
    owner = {lr: hr for hr, lr in lr_of.items()}
    unclear: dict[Path, str] = {}
    for hr in hr_files:
        if hr in lr_of:
            continue

        options = sorted(
            {file for hr_key, lr_by_key in tables for file in lr_by_key.get(hr_key[hr], ())}
        )
        if not options:
            continue

        # The HR files that hold these LR files now are unclear too: either could be meant.
        names = ", ".join(file.name for file in options[:2])
        rivals = sorted({owner[file] for file in options if file in owner})
        also = f", and so could that of {rivals[0].name}" if rivals else ""
        unclear[hr] = f"its LR file could be {names}{also}; rename them so that one name fits"
        for rival in rivals:
            unclear[rival] = (
                f"its LR file could be that of {hr.name} too; rename them so that one name fits"
            )
    return unclear


# The key of each HR file, and the LR files of each key.
_Table = tuple[dict[Path, str], dict[str, list[Path]]]
_Name = Callable[[str, int], str]
_Rule = tuple[_Name, _Name, bool]


def _keep_whole(stem: str, scale: int) -> str:
    return stem


def _without_scale(stem: str, scale: int) -> str:
    return stem.removesuffix(f"x{scale}")


def _without_one(stem: str, scale: int) -> str:
    cut = _cut_tag(stem, scale)
    return cut[0] if cut else stem


def _without_all(stem: str, scale: int) -> str:
    core = read_stem(stem, scale).core
    return re.sub(
        rf"(?i)(?<=.){_SEPARATOR}+x1\Z", "", core
    ).lower()  # DRealSR: HR files end in x4, LR in x1


# What is compared of an HR name and of an LR name, and whether their subfolders have to agree.
_RULES: tuple[_Rule, ...] = tuple(
    (of_hr, of_lr, nested)
    for of_hr, of_lr in (
        (_keep_whole, _keep_whole),
        (_keep_whole, _without_scale),
        (_keep_whole, _without_one),
        (_keep_whole, _without_all),
        (_without_all, _without_all),
    )
    for nested in (True, False)
)


def _split_names(files: Sequence[Path], root: Path) -> list[tuple[str, str]]:
    """Return the subfolder and the stem of each file."""
    folders: dict[str, str] = {}
    split = []
    for file in files:
        folder, name = os.path.split(file)
        if folder not in folders:
            folders[folder] = os.path.relpath(folder, root)
        split.append((folders[folder], os.path.splitext(name)[0]))
    return split


def _make_keys(
    split: Sequence[tuple[str, str]], of: _Name, scale: int, *, nested: bool
) -> list[str]:
    if nested:
        return [f"{folder}/{of(stem, scale)}" for folder, stem in split]
    return [of(stem, scale) for _, stem in split]


def _group_by_key(files: Sequence[Path], keys: Sequence[str]) -> dict[str, list[Path]]:
    table: defaultdict[str, list[Path]] = defaultdict(list)
    for file, key in zip(files, keys, strict=True):
        table[key].append(file)
    return table
