"""What a folder of images is: where its HR and LR images lie, found by the names of folders and files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.data.config import FROM_HR, RoleName
from nas.data.file_names import MixedFolder, match_files, read_stem, split_mixed
from nas.data.folder_names import (
    PARTS,
    FolderName,
    Part,
    child_folders,
    folders_below,
    holds_images,
    images_below,
    own_images,
    read_folder_name,
)
from nas.data.images import ImageError, probe
from nas.data.orientation import find_exif_turn, turn_in_words
from nas.data.sets import Pair, check_sizes

Role = RoleName

KNOWN = (
    "DIV2K_train_HR/, Flickr2K_HR/, HR/ or GT/ with LR/, LRbicx4/ or X4/, LSDIR's 0001000/, or image files"
)
_MAX_NOTED = 3  # names in a notice
_MAX_WRAPPERS = 3  # folders around a data set that hold nothing but it

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


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of HR images, and where their LR images are looked for.

    Attributes:
        base: the folder in which HR and LR folders lie side by side.
        path: the HR folder's own place in it, such as HR/train.
        name: that path, read word by word.
    """

    layout: str
    base: Path
    path: str
    name: FolderName

    @property
    def folder(self) -> Path:
        return self.base / self.path


def open_folder(
    root: Path,
    *,
    role: Role,
    scale: int,
    key: str = "",
    source: str = "",
    first: int | None = None,
    lr: str | None = None,
) -> Found:
    """Recognise what lies in a folder and pair HR with LR.

    Args:
        root: the data set's folder, or one of its HR folders.
        role: in a folder with several parts, training takes the training part, the others what is kept for
            judging.
        key: what the folder was given as, for messages.
        source: whose weight the images share in a mixture.
        first: keep only that many images, in the order of their names.
        lr: the folder of LR images; "none" to make them from HR; None to look for them beside the HR images.
    Raises:
        ValueError: no such folder, nothing usable in it, or several data sets at once.
    """
    key = key or f"data.{role}"
    root = absolute(root)
    if not root.is_dir():
        raise ValueError(f"{key}: {'not a folder' if root.exists() else 'no such folder'}: {root}")
    place = find_place(root, role, key)
    files, notices = _hr_files(place, key)
    mixed = split_mixed(files, scale)
    lr_folder, told = _choose_lr_folder(place, scale, key, lr, mixed)
    notices += told
    if mixed is not None and lr_folder in (None, place.folder):
        files, told = _separate(mixed, place, scale, key, uses_lr=lr != FROM_HR)
        notices += told
        lr_files = mixed.lr if lr != FROM_HR else []
        lr_folder = place.folder if lr_files else None
    else:
        lr_files = images_below(lr_folder) if lr_folder is not None else []
    pairs, problems, told = _pair(
        files[:first], lr_files, place.folder, lr_folder, scale, source, whole=first is None
    )
    notices += [f"{key}: {line}" for line in told]
    return Found(place.layout, root, place.folder, tuple(pairs), tuple(problems), tuple(notices))


def validation_folder(root: Path) -> Path | None:
    """The validation images that a data set keeps beside its training images, if they are there."""
    kept = [place for place in _places_in(absolute(root)) if place.name.part == "valid"]
    return min(kept, key=lambda place: place.name.rank).folder if kept else None


def absolute(path: Path) -> Path:
    """Make a path absolute without following its links: a linked folder keeps the name it was given."""
    path = path.expanduser()
    if ".." in path.parts:
        last = len(path.parts) - path.parts[::-1].index("..")
        path = Path(os.path.realpath(Path(*path.parts[:last])), *path.parts[last:])
    return path.absolute()


def find_place(root: Path, role: Role, key: str) -> Place:
    """Find the HR folder that a user means by a data set's folder, by an HR folder, or by a link to one.

    Raises:
        ValueError: it holds several data sets, or none for this role.
    """
    for one in dict.fromkeys((root, Path(os.path.realpath(root)))):
        place = _place_of_hr_folder(one) or _place_of_root(one, role, key)
        if place is not None:
            return place
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
    """The place of a folder that is itself an HR folder by its name, or a part of one, such as HR/train."""
    if root.name and read_folder_name(root.name).kind == "HR" and not _places_in(root):
        if _part_folders(root) and not own_images(root):
            return None  # HR/ above train/ and val/: which of them is a question of the role
        return _place(root.parent, root.name) if holds_images(root) else None
    path = f"{root.parent.name}/{root.name}"
    is_part = root.name.lower() in PARTS and read_folder_name(root.parent.name).kind == "HR"
    return _place(root.parent.parent, path) if is_part and holds_images(root) else None


def _place_of_root(root: Path, role: Role, key: str) -> Place | None:
    """The HR folder in a data set's folder that serves a role; None where there is none."""
    places = _places_in(root)
    if not places and read_folder_name(root.name).kind == "HR" and _part_folders(root):
        places = [_place(root.parent, f"{root.name}/{part.name}") for part in _part_folders(root)]
    if not places:
        return None
    if len({place.layout if place.layout == "LSDIR" else place.name.set_words for place in places}) > 1:
        folders = ", ".join(place.path for place in places[:4])
        raise ValueError(f"{key}: {root} holds several data sets ({folders}); name their folders one by one")
    for part in _PREFERENCE[role]:
        fitting = [place for place in places if place.name.part == part]
        if fitting:
            return min(fitting, key=lambda place: (place.name.rank, place.path))
    raise ValueError(
        f"{key}: {root} holds only training images ({places[0].path}); to use them for {role}, "
        f"name the folder {places[0].folder}"
    )


def _places_in(root: Path) -> list[Place]:
    """The HR folders in a data set's folder."""
    places = []
    for child in child_folders(root):
        if read_folder_name(child.name).kind == "HR":
            parts = [] if own_images(child) else _part_folders(child)
            paths = [f"{child.name}/{part.name}" for part in parts] or [child.name]
            places += [_place(root, path) for path in paths if holds_images(root / path)]
        elif re.fullmatch(r"(?i)val\d*", child.name):  # LSDIR keeps HR/val and X4/val in val1
            inner = [(child, f"HR/{part.name}") for part in _part_folders(child / "HR")]
            places += [_place(base, path) for base, path in inner if holds_images(base / path)]
    if _shards(root):
        shards = replace(read_folder_name("train"), kind="HR")
        places.append(Place("LSDIR", root, ".", shards))
    return places


def _place(base: Path, path: str) -> Place:
    name = read_folder_name(path)
    words, has_parts = name.set_words, len(Path(path).parts) > 1
    layout = "HR and LR"
    if {"div2k", "lsdir"} <= set(words):
        layout = "challenge"
    elif words[:1] == ("div2k",):
        layout = "DIV2K"
    elif words[:1] == ("flickr2k",):
        layout = "Flickr2K"
    elif words[:1] == ("lsdir",) or (not words and (has_parts or _shards(base / path))):
        layout = "LSDIR"
        if name.part == "any":
            name = replace(name, rest=("train",))
    elif not words and name.part == "any":
        layout = "benchmark"
    return Place(layout, base, path, name)


def _part_folders(folder: Path) -> list[Path]:
    return [child for child in child_folders(folder) if child.name.lower() in PARTS]


def _shards(folder: Path) -> list[Path]:
    """LSDIR's subfolders of a thousand images each."""
    numbered = [child for child in child_folders(folder) if re.fullmatch(r"\d{7}", child.name)]
    return numbered if any(own_images(shard) for shard in numbered[:1]) else []


def _hr_files(place: Place, key: str) -> tuple[list[Path], list[str]]:
    """The HR images of a place: its own, or those of the folders below it where it holds none itself.

    Raises:
        ValueError: there are none, or LR images lie among them.
    """
    folder = place.folder
    files = own_images(folder)
    if files and place.layout != "LSDIR":
        return files, []
    below = [one for one in folders_below(folder) if own_images(one)]
    if place.layout == "LSDIR":
        below = [folder, *_shards(folder)] if _shards(folder) else below
        return sorted(file for one in dict.fromkeys(below) for file in own_images(one)), []
    low = [one for one in below if _says_lr(one.relative_to(folder))]
    if low:
        raise ValueError(
            f"{key}: {folder} holds several folders of images, LR ones too ({low[0].relative_to(folder)}); "
            "name the folder of the HR images itself, or a list of them"
        )
    files = [file for one in below for file in own_images(one)]
    if not files:
        raise ValueError(f"{key}: no images in {folder}; known layouts: {KNOWN}")
    names = _some([str(one.relative_to(folder)) for one in below])
    return files, [f"{key}: {folder} holds no images itself; the {len(files)} of {names} below it are taken"]


def _says_lr(path: Path) -> bool:
    return any(read_folder_name(part).kind == "LR" for part in path.parts)


def _choose_lr_folder(
    place: Place, scale: int, key: str, given: str | None, mixed: MixedFolder | None
) -> tuple[Path | None, list[str]]:
    """The folder of a place's LR images, and what has to be said about those that are not used.

    Raises:
        ValueError: the folder that the user named for them is not there or holds no images.
    """
    lies_there = _lr_folders(place)
    if given is not None and given != FROM_HR:
        return _named_lr_folder(given, scale, key), []
    wanted = [
        (name, folder) for name, folder in lies_there if name.scale in (None, scale) and _belongs(name, place)
    ]
    if given == FROM_HR:
        return None, _tell_unused([folder for _, folder in wanted], place, key, FROM_HR)
    wanted.sort(key=lambda one: (one[0].rest != place.name.rest, not one[0].kernel, one[0].scale is None))
    if not wanted:
        if lies_there and mixed is None:
            names = _some([str(folder.relative_to(place.base)) for _, folder in lies_there])
            return None, [
                f"{key}: {place.base} has no LR images of scale {scale} (there are {names}): "
                "they are made from HR"
            ]
        return None, []
    chosen, *others = [folder for _, folder in wanted]
    return chosen, _tell_unused(others, place, key, f"those of {chosen.relative_to(place.base)} are")


def _named_lr_folder(given: str, scale: int, key: str) -> Path:
    folder = absolute(Path(given))
    role = key.partition(".")[2].partition("[")[0]
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise ValueError(f"data.lr.{role}: {what}: {folder}; name the folder of LR images, or {FROM_HR}")
    if own_images(folder):
        return folder
    of_scale = [child for child in child_folders(folder) if read_folder_name(child.name).scale == scale]
    inside = of_scale[0] if of_scale else folder
    if not holds_images(inside):
        raise ValueError(f"data.lr.{role}: no images in {folder}; name the folder of LR images, or {FROM_HR}")
    return inside


def _lr_folders(place: Place) -> list[tuple[FolderName, Path]]:
    """The folders beside a place's HR folder that hold LR images by their names."""
    found = []
    for child in child_folders(place.base):
        name = read_folder_name(child.name)
        if name.kind != "LR" or child == place.folder:
            continue
        inner = [(read_folder_name(f"{child.name}/{one.name}"), one) for one in child_folders(child)]
        inner = [(name, one) for name, one in inner if name.kind == "LR" and _is_inner_lr(one)]
        if inner:
            found += [(name, one) for name, one in inner if holds_images(one)]
        if own_images(child) or (not inner and holds_images(child)):
            found.append((name, child))
    return found


def _is_inner_lr(folder: Path) -> bool:
    """Whether a folder inside an LR folder is a choice among several (X2, X4, train, val) and no shard."""
    return read_folder_name(folder.name).scale is not None or folder.name.lower() in PARTS


def _belongs(name: FolderName, place: Place) -> bool:
    """Whether an LR folder is of the same set and part; LSDIR's own images are its training images."""
    alike = {place.name.rest}
    if place.layout == "LSDIR" and place.name.rest == ("train",):
        alike.add(())
    return name.rest in alike


def _tell_unused(folders: Sequence[Path], place: Place, key: str, why: str) -> list[str]:
    if not folders:
        return []
    role = key.partition(".")[2].partition(".")[0]
    names = _some([str(folder.relative_to(place.base)) for folder in folders])
    if why == FROM_HR:
        return [f"{key}: LR images lie in {place.base}, {names}, and are not used: data.lr=none"]
    way = f"; data.lr.{role}=FOLDER takes others" if role in _PREFERENCE else ""
    return [f"{key}: LR images lie in {place.base}, {names}, and are not used: {why}{way}"]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NOTED} more" if len(names) > _MAX_NOTED else ""
    return ", ".join(names[:_MAX_NOTED]) + more


def _separate(
    mixed: MixedFolder, place: Place, scale: int, key: str, *, uses_lr: bool
) -> tuple[list[Path], list[str]]:
    """The HR files of a folder that holds LR files too, and what has to be said about that."""
    high, low = mixed.example
    notices = [
        f"{key}: {place.folder} holds HR and LR images, such as {high.name} and {low.name}: "
        + (f"taken as {len(mixed.hr)} pairs" if uses_lr else f"its {len(mixed.lr)} LR images are not used")
    ]
    if mixed.others:
        notices.append(
            f"{key}: {len(mixed.others)} images of {place.folder} are neither HR nor LR by their names, such "
            f"as {mixed.others[0].name}: not used"
        )
    return mixed.hr, notices


def _pair(
    files: list[Path],
    lr_files: list[Path],
    hr_folder: Path,
    lr_folder: Path | None,
    scale: int,
    source: str,
    *,
    whole: bool,
) -> tuple[list[Pair], list[tuple[Path, str]], list[str]]:
    """Pair by name; `whole` also asks that no LR file is left over."""
    problems: list[tuple[Path, str]] = []
    notices: list[str] = []
    pairs: list[Pair] = []
    matches = match_files(files, lr_files, hr_root=hr_folder, lr_root=lr_folder or hr_folder, scale=scale)
    for file in files:
        lr = matches.lr_of.get(file)
        if lr_folder is not None and lr is None:
            missing = f"no LR file {file.stem}x{scale} in {lr_folder}; data.lr=none makes LR images from HR"
            problems.append((file, matches.unclear.get(file, missing)))
            continue
        try:
            pairs.append(sized(Pair(file.stem, file, lr, source), scale))
        except ImageError as error:
            problems.append((error.path, error.reason))
    if whole:
        other_scale = [file for file in matches.left_over if _is_of_other_scale(file, scale)]
        if other_scale:
            notices.append(f"{len(other_scale)} LR images of other scales, such as {other_scale[0].name}")
        problems += [
            (lr, f"an LR file without its HR file {read_stem(lr.stem, scale).core}")
            for lr in matches.left_over
            if lr not in other_scale
        ]
    return pairs, problems, notices


def _is_of_other_scale(file: Path, scale: int) -> bool:
    return any(read_stem(file.stem, other).kind == "x" for other in (2, 3, 4, 8) if other != scale)


def sized(pair: Pair, scale: int) -> Pair:
    """Look at the headers: the pair with its HR size, once the sizes are known to belong together.

    An HR file whose EXIF data turn it is compared with its LR file pixel by pixel.

    Raises:
        ImageError: a file cannot be used, or the sizes do not belong together.
    """
    height, width = probe(pair.hr)
    if pair.lr is None:
        check_sizes(pair.hr, (height // scale, width // scale), (height, width), scale)
        return replace(pair, size=(height, width))
    turn = find_exif_turn(pair.hr, pair.lr, scale)
    if turn is not None:
        raise ImageError(pair.hr, turn_in_words(turn, pair.lr))
    check_sizes(pair.lr, probe(pair.lr), (height, width), scale)
    return replace(pair, size=(height, width))
