"""The folder where a data set keeps its HR images, recognised by names in any case."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from nas.data.config import RoleName
from nas.data.folders.folder_names import (
    PARTS,
    FolderName,
    Part,
    child_folders,
    holds_images,
    own_images,
    read_folder_name,
    shorten,
)

Role = RoleName

_MAX_WRAPPERS = 3  # folders around a data set that hold nothing but it, or inside an HR folder

# Which part serves a role, in order of preference; training images judge only if their folder is
# named.
_PREFERENCE: dict[Role, tuple[Part, ...]] = {
    "train": ("train", "any", "valid", "test"),
    "val": ("valid", "any", "test"),
    "test": ("test", "valid", "any"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of HR images, and where their LR images are looked for.

    Attributes:
        base: the folder in which HR and LR folders lie side by side.
        path: the HR folder's own place in it, such as HR/train.
        name: that path, read word by word.
        inner: the folder in it that the user named, such as a class or a shard.
    """

    layout: str
    base: Path
    path: str
    name: FolderName
    inner: str = "."

    @property
    def folder(self) -> Path:
        return self.base / self.path / self.inner


def absolute(path: Path) -> Path:
    """Make a path absolute without following links: a linked folder keeps its given name."""
    path = path.expanduser()
    if ".." in path.parts:
        last = len(path.parts) - path.parts[::-1].index("..")
        path = Path(os.path.realpath(Path(*path.parts[:last])), *path.parts[last:])
    return path.absolute()


def find_place(root: Path, role: Role, key: str) -> Place:
    """Find the HR folder that a user means by a data set's folder, an HR folder, or a link.

    Raises:
        ValueError: it holds several data sets, or none for this role.
    """
    for one in dict.fromkeys((root, Path(os.path.realpath(root)))):
        place = _place_of_hr_folder(one) or _place_of_root(one, role, key) or _place_of_inner(one)
        if place is not None:
            return place

    # Archives unpack into folders that hold nothing but the data set.
    wrapped = root
    for _ in range(_MAX_WRAPPERS):
        inside = child_folders(wrapped)
        if len(inside) != 1 or own_images(wrapped):
            break
        wrapped = inside[0]
        if place := _place_of_root(wrapped, role, key):
            return place

    return Place("images", root, ".", read_folder_name(""))


def _place_of_hr_folder(root: Path) -> Place | None:
    """Return the place of a folder that is an HR folder by its name, or a part such as HR/train."""
    if root.name and read_folder_name(root.name).kind == "HR":
        twice = root / root.name  # as archives unpack into a folder of their own name
        if child_folders(root) == [twice] and not own_images(root) and holds_images(twice):
            return replace(_make_place(root.parent, root.name), inner=root.name)

    if root.name and read_folder_name(root.name).kind == "HR" and not _find_places(root):
        if _part_folders(root) and not own_images(root):
            return None  # HR/ above train/ and val/: which of them is a question of the role
        above = root.parent
        if above.name.lower() == root.name.lower() and not own_images(above):  # as archives unpack
            return replace(_make_place(above.parent, above.name), inner=root.name)
        return _make_place(root.parent, root.name) if holds_images(root) else None

    # A part inside an HR folder, such as HR/train.
    path = f"{root.parent.name}/{root.name}"
    is_part = root.name.lower() in PARTS and read_folder_name(root.parent.name).kind == "HR"
    return _make_place(root.parent.parent, path) if is_part and holds_images(root) else None


def _place_of_inner(root: Path) -> Place | None:
    """Return the place of a folder inside an HR folder, such as a class or a shard."""
    # The HR folder may lie some levels above, with classes or shards in between.
    for above in list(root.parents)[:_MAX_WRAPPERS]:
        inner = str(root.relative_to(above))
        if re.fullmatch(r"\d{7}", root.name) and root.parent == above and root in shards_of(above):
            place = _place_of_hr_folder(above) or next(
                (one for one in _find_places(above) if one.path == "."), None
            )
        else:
            place = _place_of_hr_folder(above)
        if place is not None and place.folder == above and holds_images(root):
            return replace(place, inner=inner)
    return None


def _place_of_root(root: Path, role: Role, key: str) -> Place | None:
    """Find the HR folder in a data set's folder that serves a role; None where there is none."""
    places = _find_places(root)
    if not places and read_folder_name(root.name).kind == "HR" and _part_folders(root):
        places = [
            _make_place(root.parent, f"{root.name}/{part.name}") for part in _part_folders(root)
        ]
    if not places:
        return None
    if (
        len({place.layout if place.layout == "LSDIR" else place.name.set_words for place in places})
        > 1
    ):
        # Which one is meant cannot be told, and mixing them unasked would be worse.
        folders = ", ".join(place.path for place in places[:4])
        raise ValueError(
            f"{key}: {shorten(root)} holds several data sets ({folders}); name their folders one "
            "by one"
        )

    # The part that suits the role best; of its folders the plain one, not a cropped copy.
    for part in _PREFERENCE[role]:
        fitting = [place for place in places if place.name.part == part]
        if fitting:
            return min(fitting, key=lambda place: (place.name.rank, place.path))
    raise ValueError(
        f"{key}: {shorten(root)} holds only training images ({places[0].path}); to use them for "
        f"{role}, name the folder {shorten(places[0].folder)}"
    )


def _find_places(root: Path) -> list[Place]:
    """Find the HR folders in a data set's folder."""
    places = []
    for child in child_folders(root):
        if read_folder_name(child.name).kind == "HR":
            parts = [] if own_images(child) else _part_folders(child)
            paths = [f"{child.name}/{part.name}" for part in parts] or [child.name]
            places += [_make_place(root, path) for path in paths if holds_images(root / path)]
        elif re.fullmatch(r"(?i)val\d*", child.name):  # LSDIR keeps HR/val and X4/val in val1
            inner = [(child, f"HR/{part.name}") for part in _part_folders(child / "HR")]
            places += [_make_place(base, path) for base, path in inner if holds_images(base / path)]

    # LSDIR's shards lie side by side, without a folder for HR.
    if shards_of(root):
        shards = replace(read_folder_name("train"), kind="HR")
        places.append(Place("LSDIR", root, ".", shards))
    return places


def _make_place(base: Path, path: str) -> Place:
    name = read_folder_name(path)
    words, has_parts = name.set_words, len(Path(path).parts) > 1

    # By the words for the set; the order decides, as the challenge's names hold DIV2K too.
    layout = "HR and LR"
    if {"div2k", "lsdir"} <= set(words):
        layout = "challenge"
    elif words[:1] == ("div2k",):
        layout = "DIV2K"
    elif words[:1] == ("flickr2k",):
        layout = "Flickr2K"
    elif words[:1] == ("lsdir",) or (not words and (has_parts or shards_of(base / path))):
        layout = "LSDIR"
        if name.part == "any":
            name = replace(name, rest=("train",))
    elif not words and name.part == "any":
        layout = "benchmark"
    return Place(layout, base, path, name)


def _part_folders(folder: Path) -> list[Path]:
    return [child for child in child_folders(folder) if child.name.lower() in PARTS]


def shards_of(folder: Path) -> list[Path]:
    """List LSDIR's subfolders of a thousand images each."""
    numbered = [child for child in child_folders(folder) if re.fullmatch(r"\d{7}", child.name)]
    return numbered if any(own_images(shard) for shard in numbered[:1]) else []


def validation_folder(root: Path) -> Path | None:
    """Return the folder of validation images that a data set keeps beside its training images."""
    kept = [place for place in _find_places(absolute(root)) if place.name.part == "valid"]
    return min(kept, key=lambda place: place.name.rank).folder if kept else None
