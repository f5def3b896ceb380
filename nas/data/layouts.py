"""What a folder of images is: DIV2K, LSDIR, Flickr2K, a challenge set, a benchmark, or just images."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from nas.data.images import EXTENSIONS, ImageError, probe
from nas.data.sets import Pair, check_sizes

Role = Literal["train", "select", "report"]
Part = Literal["train", "valid", "test", "any"]


@dataclass(frozen=True, slots=True)
class Layout:
    """HR images in one folder of the root, LR images in the first that exists of others; {s} is the scale."""

    name: str
    part: Part
    hr: str
    lr: tuple[str, ...]


LAYOUTS = (
    Layout("DIV2K", "train", "DIV2K_train_HR", ("DIV2K_train_LR_bicubic/X{s}",)),
    Layout("DIV2K", "valid", "DIV2K_valid_HR", ("DIV2K_valid_LR_bicubic/X{s}",)),
    Layout("challenge", "valid", "DIV2K_LSDIR_valid_HR", ("DIV2K_LSDIR_valid_LR",)),
    Layout("challenge", "test", "DIV2K_LSDIR_test_HR", ("DIV2K_LSDIR_test_LR",)),
    Layout("Flickr2K", "any", "Flickr2K_HR", ("Flickr2K_LR_bicubic/X{s}",)),
    Layout("LSDIR", "train", ".", ("X{s}/train", "X{s}", "LR_bicubic/X{s}", "train_X{s}")),
    Layout("LSDIR", "train", "HR", ("X{s}/train", "X{s}", "LR_bicubic/X{s}")),
    Layout("LSDIR", "train", "HR/train", ("X{s}/train",)),
    Layout("LSDIR", "valid", "HR/val", ("X{s}/val",)),
    Layout("LSDIR", "valid", "val1/HR/val", ("val1/X{s}/val",)),
    Layout("benchmark", "any", "HR", ("LR_bicubic/X{s}",)),
)
KNOWN = "DIV2K_train_HR/, Flickr2K_HR/, DIV2K_LSDIR_valid_HR/, HR/, LSDIR's 0001000/, or image files"

# Which part serves a role, in order of preference; training images judge only if their folder is named.
_PREFERENCE: dict[Role, tuple[Part, ...]] = {
    "train": ("train", "any", "valid", "test"),
    "select": ("valid", "any", "test"),
    "report": ("test", "valid", "any"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """The pairs of one folder, and what was wrong with others: (file, reason)."""

    layout: str
    root: Path
    folder: Path
    pairs: tuple[Pair, ...]
    problems: tuple[tuple[Path, str], ...]
    notices: tuple[str, ...] = ()


def open_folder(
    root: Path, *, role: Role, scale: int, key: str = "", source: str = "", first: int | None = None
) -> Found:
    """Recognise what lies in a folder and pair HR with LR.

    Args:
        root: the data set's folder, or one of its HR folders.
        role: in a folder with several parts, training takes the training part, the others what is kept for
            judging.
        key: what the folder was given as, for messages.
        source: whose weight the images share in a mixture.
        first: keep only that many images, in the order of their names.
    Raises:
        ValueError: no such folder, nothing usable in it, or several data sets at once.
    """
    key = key or f"data.{role}"
    root = Path(root).expanduser().resolve()
    if not root.is_dir():
        raise ValueError(f"{key}: {'not a folder' if root.exists() else 'no such folder'}: {root}")
    layout, hr_folder, lr_folders = _recognise(root, role, scale, key)
    files = _images(hr_folder, nested=layout == "LSDIR")
    if not files:
        raise ValueError(f"{key}: no images in {hr_folder}; known layouts: {KNOWN}")
    lr_folder = next((folder for folder in lr_folders if folder.is_dir()), None)
    notices = []
    if lr_folder is None and any(folder.parent.is_dir() and folder.parent != root for folder in lr_folders):
        notices.append(f"{key}: {root} has no LR images of scale {scale}: they are made from HR")
    pairs, problems = _pair(files[:first], lr_folder, scale, source, whole=first is None)
    return Found(layout, root, hr_folder, tuple(pairs), tuple(problems), tuple(notices))


def validation_folder(root: Path) -> Path | None:
    """The validation images that a data set keeps beside its training images, if they are there."""
    root = Path(root).expanduser().resolve()
    kept = [layout for layout in LAYOUTS if layout.part == "valid" and _holds(layout, root / layout.hr)]
    return root / kept[0].hr if kept else None


def _recognise(root: Path, role: Role, scale: int, key: str) -> tuple[str, Path, list[Path]]:
    """Layout name, HR folder, candidates for the LR folder."""
    for layout in LAYOUTS:  # the user may have named the HR folder itself
        depth = len(Path(layout.hr).parts)
        if depth and root.parts[-depth:] == Path(layout.hr).parts and _holds(layout, root):
            return layout.name, root, _lr_folders(root.parents[depth - 1], layout.lr, scale)
    there = [layout for layout in LAYOUTS if _holds(layout, root / layout.hr)]
    names = sorted({layout.name for layout in there})
    if len(names) > 1:
        folders = ", ".join(layout.hr for layout in there)
        raise ValueError(f"{key}: {root} holds several data sets ({folders}); name their folders one by one")
    for part in _PREFERENCE[role]:
        for layout in there:
            if layout.part == part:
                return layout.name, root / layout.hr, _lr_folders(root, layout.lr, scale)
    if there:
        raise ValueError(
            f"{key}: {root} holds only training images ({there[0].hr}); to use them for {role}, "
            f"name the folder {root / there[0].hr}"
        )
    return "images", root, []


def _lr_folders(base: Path, templates: tuple[str, ...], scale: int) -> list[Path]:
    return [base / template.format(s=scale) for template in templates]


def _shards(folder: Path) -> list[Path]:
    """LSDIR's subfolders of a thousand images each."""
    if not folder.is_dir():
        return []
    return sorted(
        child for child in folder.iterdir() if re.fullmatch(r"\d{7}", child.name) and child.is_dir()
    )


def _holds(layout: Layout, folder: Path) -> bool:
    """Whether a layout's HR folder holds images; two of LSDIR's hold them in subfolders alone."""
    folders = [] if layout.name == "LSDIR" and layout.hr in (".", "HR") else [folder]
    folders += _shards(folder)[:1] if layout.name == "LSDIR" else []
    return folder.is_dir() and any(_is_image(file) for base in folders for file in base.iterdir())


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in EXTENSIONS and not file.name.startswith(".")


def _images(folder: Path, *, nested: bool) -> list[Path]:
    folders = [folder, *_shards(folder)] if nested else [folder]
    return sorted(file for base in folders for file in base.iterdir() if _is_image(file))


def _pair(
    files: list[Path], lr_folder: Path | None, scale: int, source: str, *, whole: bool
) -> tuple[list[Pair], list[tuple[Path, str]]]:
    """Pair by name; `whole` also asks that no LR file is left over."""
    problems: list[tuple[Path, str]] = []
    suffix = f"x{scale}"
    lr_files: dict[str, Path] = {}
    if lr_folder is not None:
        lr_files = {file.stem.removesuffix(suffix): file for file in _images(lr_folder, nested=True)}
    pairs: list[Pair] = []
    for file in files:
        lr = lr_files.pop(file.stem, None)
        if lr_folder is not None and lr is None:
            problems.append((file, f"no LR file {file.stem}{suffix} in {lr_folder}"))
            continue
        pair = Pair(file.stem, file, lr, source)
        try:
            pairs.append(sized(pair, scale))
        except ImageError as error:
            problems.append((error.path, error.reason))
    if whole:
        problems += [(lr, f"an LR file without its HR file {stem}") for stem, lr in sorted(lr_files.items())]
    return pairs, problems


def sized(pair: Pair, scale: int) -> Pair:
    """Look at the headers: the pair with its HR size, once the sizes are known to belong together.

    Raises:
        ImageError: a file cannot be used, or the sizes do not belong together.
    """
    height, width = probe(pair.hr)
    lr = probe(pair.lr) if pair.lr is not None else (height // scale, width // scale)
    check_sizes(pair.lr or pair.hr, lr, (height, width), scale)
    return replace(pair, size=(height, width))
