"""Which folder holds the LR images of an HR folder, and which LR folders are not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nas.data.config import FROM_HR
from nas.data.folders.folder_names import (
    PARTS,
    FolderName,
    child_folders,
    holds_images,
    own_images,
    read_folder_name,
    shorten,
)
from nas.data.folders.places import Place, absolute

_MAX_NOTED = 3  # names in a notice


def says_lr(path: Path) -> bool:
    """Return whether a folder of a path says LR."""
    return any(read_folder_name(part).kind == "LR" for part in path.parts)


def choose_lr_folder(
    place: Place, scale: int, key: str, given: str | None, *, is_mixed: bool
) -> tuple[Path | None, list[str]]:
    """Choose the folder of a place's LR images.

    Args:
        place: where the HR images lie.
        scale: of LR to HR.
        key: what the HR folder was given as, for messages.
        given: the LR folder that the user named; "none": no LR files; None: it is looked for.
        is_mixed: whether the HR folder holds LR images itself.
    Returns:
        The folder, None without one, and notices on LR folders that are not used.
    Raises:
        ValueError: the folder that the user named for them is not there or holds no images.
    """
    if given is not None and given != FROM_HR:
        return _open_named_folder(given, scale), []
    folders = _find_lr_folders(place)
    fitting = [
        (name, folder)
        for name, folder in folders
        if name.scale in (None, scale) and _is_of_place(name, place)
    ]
    if given == FROM_HR:
        return None, _tell_unused([folder for _, folder in fitting], place, key, FROM_HR)

    if not fitting:
        return None, [] if is_mixed else _tell_possible(folders, place, scale, key)

    # The best: of the very same part, said to be bicubic, with its scale in the name.
    fitting.sort(
        key=lambda item: (
            item[0].rest != place.name.rest,
            not item[0].kernel,
            item[0].scale is None,
        )
    )
    chosen, *others = [folder for _, folder in fitting]
    others += [
        folder
        for name, folder in folders
        if name.scale in (None, scale)
        and not _is_of_place(name, place)
        and _is_variant(name, place)
    ]
    # Shards of HR images have LR shards of the same names.
    if (chosen / place.inner).is_dir():
        chosen = chosen / place.inner
    return chosen, _tell_unused(
        others, place, key, f"those of {chosen.relative_to(place.base)} are"
    )


def _tell_possible(
    folders: Sequence[tuple[FolderName, Path]], place: Place, scale: int, key: str
) -> list[str]:
    """Say which LR folders lie around though none certainly belongs here: a user can name one."""
    beside = _find_lr_beside(place)
    if beside:
        around = replace(place, base=place.base.parent)
        why = f"nothing says that they are those of {place.base.name}"
        return _tell_unused(beside, around, key, why)
    if folders:
        # LR folders of other scales alone: LR is made from HR, and the user is told.
        of_scale = f"no LR images of scale {scale} for {place.path} by their names"
        why = f"{of_scale}, so they are made from HR"
        return _tell_unused([folder for _, folder in folders], place, key, why)
    return []


def _open_named_folder(given: str, scale: int) -> Path:
    """Return the folder of LR images that a user named, or its subfolder of this scale."""
    folder = absolute(Path(given))
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise ValueError(
            f"data.lr: {what}: {shorten(folder)}; name the folder of LR images, or {FROM_HR}"
        )

    # As data sets keep them: X2, X3 and X4 in one folder.
    if own_images(folder):
        return folder
    of_scale = [
        child for child in child_folders(folder) if read_folder_name(child.name).scale == scale
    ]
    inside = of_scale[0] if of_scale else folder

    if not holds_images(inside):
        raise ValueError(
            f"data.lr: no images in {shorten(folder)}; name the folder of LR images, or {FROM_HR}"
        )
    return inside


def _find_lr_folders(place: Place) -> list[tuple[FolderName, Path]]:
    """Find the folders beside a place's HR folder that hold LR images by their names."""
    folders = []
    for child in child_folders(place.base):
        # LR_bicubic/X4 says LR outside and the scale inside, LRbicx4 both in one name.
        name = read_folder_name(child.name)
        if name.kind != "LR" or child == place.folder:
            continue
        inner = [
            (read_folder_name(f"{child.name}/{one.name}"), one) for one in child_folders(child)
        ]
        inner = [(name, one) for name, one in inner if name.kind == "LR" and _is_inner_lr(one)]

        if inner:
            folders += [(name, one) for name, one in inner if holds_images(one)]
        if own_images(child) or (not inner and holds_images(child)):
            folders.append((name, child))
    return folders


def _find_lr_beside(place: Place) -> list[Path]:
    """Find folders of LR images beside an HR folder whose name does not say HR.

    They are likely its own, but not certainly.
    """
    if place.layout != "images":
        return []
    # Seen from the parent folder, the HR folder is one of its parts.
    own = read_folder_name(place.base.name)
    around = Place("images", place.base.parent, place.base.name, own)
    return [
        folder
        for name, folder in _find_lr_folders(around)
        if name.rest in ((), own.rest) and own.kind != "LR"
    ]


def _is_inner_lr(folder: Path) -> bool:
    """Return whether a folder in an LR folder is one of several (X2, X4, train), no shard."""
    return read_folder_name(folder.name).scale is not None or folder.name.lower() in PARTS


def _is_of_place(name: FolderName, place: Place) -> bool:
    """Return whether an LR folder is of the same set and part; without a part, LSDIR's is train."""
    alike = {place.name.rest}
    if place.layout == "LSDIR" and place.name.rest == ("train",):
        alike.add(())
    return name.rest in alike


def _is_variant(name: FolderName, place: Place) -> bool:
    """Return whether an LR folder is another one of the same set and part, such as LR_unknown."""
    return set(place.name.rest) <= set(name.rest) and name.part == place.name.part


def _tell_unused(folders: Sequence[Path], place: Place, key: str, why: str) -> list[str]:
    """Say that LR folders are not used, and how they would be."""
    if not folders:
        return []
    role = key.partition(".")[2].partition(".")[0]
    # What is not used is told: it may be what the user meant.
    names = list_some([str(folder.relative_to(place.base)) for folder in folders])
    if why == FROM_HR:
        return [f"{key}: LR images lie in {place.base}, {names}, and are not used: data.lr=none"]
    way = (
        f"; data.{'lr_train' if role == 'train' else 'lr'}=FOLDER takes others"
        if role in ("train", "val", "test")
        else ""
    )
    return [f"{key}: LR images lie in {place.base}, {names}, and are not used: {why}{way}"]


def list_some(names: Sequence[str]) -> str:
    """List the first names, and say how many more there are."""
    more = f" and {len(names) - _MAX_NOTED} more" if len(names) > _MAX_NOTED else ""
    return ", ".join(names[:_MAX_NOTED]) + more
