"""What a folder's name says: whether it holds HR or LR images, of which set, and at which scale."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nas.data.pixels.images import EXTENSIONS

Part = Literal["train", "valid", "test", "any"]

PARTS: dict[str, Part] = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
HR_WORD = r"hr|gt|hq|high(?:res(?:olution)?)?|hires|originals?|targets?|groundtruth"
LR_WORD = r"lr|lq|low(?:res(?:olution)?)?"
KERNEL_WORD = r"bicubic|bic|bi|matlab"
_MOD = r"mod(?:crop)?\d+"
_COMPOUND = re.compile(
    rf"(?P<kernel>{KERNEL_WORD})?(?:(?P<hr>{HR_WORD})|(?P<lr>{LR_WORD}))?"
    rf"(?P<kernel2>{KERNEL_WORD})?"
    rf"(?P<mod>{_MOD})?(?:x(?P<scale>\d))?"
)
_TWO_WORDS = re.compile(
    r"(?i)(ground(?=.truth)|(?:low|high)(?=.res))[^a-z0-9]"
)  # ground_truth, low_res
_KAIR = re.compile(
    r"(?<![A-Za-z])((?i:train|valid|val|test))_?([HL])(?=x\d|[^A-Za-z]|\Z)"
)  # trainH, trainLx4
_SCALE_FIRST = re.compile(r"(?P<scale>\d)x")
_FILLER = ("image", "images", "img", "imgs", "crop")
_SKIPPED = ("__MACOSX",)
_MAX_PATH = 72  # characters of a path in an error
_MAX_FOLDERS = 20_000
_SUB = "sub"  # sub-images, as BasicSR cuts them


@dataclass(frozen=True, slots=True)
class FolderName:
    """A folder's name (or a short relative path of folders), read word by word.

    Attributes:
        kind: what its words say that it holds; "" where they say nothing.
        scale: of a word such as x4; None without one.
        kernel: whether a word says bicubic.
        rest: the other words, in lower case: which set, which part.
        rank: among HR folders of one set, the lowest is taken: plain ones before cropped copies,
            originals and sub-images.
    """

    kind: Literal["HR", "LR", ""]
    scale: int | None
    kernel: bool
    rest: tuple[str, ...]
    rank: int

    @property
    def part(self) -> Part:
        """The part of a data set that its words name."""
        return next((PARTS[word] for word in self.rest if word in PARTS), "any")

    @property
    def set_words(self) -> tuple[str, ...]:
        """Its words without those for a part, or for sub-images: they name the data set."""
        return tuple(word for word in self.rest if word not in PARTS and word != _SUB)


def read_folder_name(name: str) -> FolderName:
    """Read a folder's name, or a relative path of folders, word by word.

    Example:
        >>> name = read_folder_name("DIV2K_train_LR_bicubic/X4")
        >>> name.kind, name.scale, name.kernel, name.rest
        ('LR', 4, True, ('div2k', 'train'))
    """
    has_hr = has_lr = kernel = False
    scale: int | None = None
    rest: list[str] = []
    rank = 0
    joined = _TWO_WORDS.sub(r"\1", _KAIR.sub(r"\1_\2R", name))
    for word in re.split(r"[^a-z0-9]+", joined.lower()):
        match = _COMPOUND.fullmatch(word) or _SCALE_FIRST.fullmatch(word)
        if not word or word in _FILLER:
            continue
        if match is None:
            rest.append(word)
            rank += 10 * (word == _SUB)
            continue

        # A word of tags, such as HRx4 or LRbicx4: each of its parts says one thing.
        parts = match.groupdict()
        has_hr, has_lr = has_hr or bool(parts.get("hr")), has_lr or bool(parts.get("lr"))
        kernel = kernel or bool(parts.get("kernel") or parts.get("kernel2"))
        scale = int(parts["scale"]) if parts.get("scale") else scale
        rank += 1 * bool(parts.get("mod")) + 2 * (parts.get("hr") not in (None, "hr", "gt", "hq"))

    kind: Literal["HR", "LR", ""] = ""
    if has_hr != has_lr:
        kind = "HR" if has_hr else "LR"
    elif not has_hr and scale is not None and all(word in PARTS or word == _SUB for word in rest):
        kind = "LR"  # X4, x4_sub, train_X4: LR images without a word for it
    return FolderName(kind, scale, kernel, tuple(rest), rank)


def is_image(file: Path) -> bool:
    """Return whether a file is an image by its name; hidden ones are not."""
    return file.suffix.lower() in EXTENSIONS and not file.name.startswith(".")


def child_folders(folder: Path) -> list[Path]:
    """List the folders in a folder, and links to folders; hidden ones and __MACOSX are left out."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return []
    kept = [name for name in names if not name.startswith(".") and name not in _SKIPPED]
    return [folder / name for name in sorted(kept)]


def own_images(folder: Path) -> list[Path]:
    """List the images that lie in a folder itself, by name."""
    try:
        return sorted(file for file in folder.iterdir() if is_image(file))
    except NotADirectoryError:
        return []


def images_below(folder: Path) -> list[Path]:
    """List the images of a folder and of all folders below it, each folder once."""
    return [file for one in folders_below(folder) for file in own_images(one)]


def folders_below(folder: Path) -> Iterator[Path]:
    """Yield a folder and all folders below it by name; links are followed, no folder comes twice.

    Raises:
        ValueError: they are so many that a whole disk must have been named.
    """
    seen: set[str] = set()
    waiting = [folder]
    while waiting:
        one = waiting.pop()

        # A link back up would never end.
        real = os.path.realpath(one)
        if real in seen:
            continue
        seen.add(real)
        if len(seen) > _MAX_FOLDERS:
            raise ValueError(
                f"{shorten(folder)} holds more than {_MAX_FOLDERS:,} folders; name that of the "
                "images itself"
            )
        yield one

        # Pushed in reverse, so that they are taken in the order of their names.
        waiting += reversed(child_folders(one))


def holds_images(folder: Path) -> bool:
    """Return whether a folder, or one below it, holds an image."""
    return any(_has_own_image(one) for one in folders_below(folder))


def _has_own_image(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(is_image(Path(entry.name)) for entry in entries)
    except OSError:
        return False


def shorten(path: Path) -> str:
    """Cut a long path to its end: an error's line needs room for the reason and the way out."""
    text = str(path)
    return text if len(text) <= _MAX_PATH else f"...{text[3 - _MAX_PATH :]}"
