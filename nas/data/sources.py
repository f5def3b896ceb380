"""Which images a role gets: from named folders or from sources, and synthetic ones."""

from __future__ import annotations

import os
from pathlib import Path

from nas.data.builtin.photographs import photograph, shrunk_photographs
from nas.data.config import FROM_HR, SYNTHETIC, DataConfig, FolderSource, PhotoSource
from nas.data.folders.layouts import Found, open_folder, sized
from nas.data.folders.places import Role, validation_folder
from nas.data.synthetic.pictures import synthetic_pictures


def find_images(config: DataConfig, role: Role, scale: int, *, progress: bool) -> list[Found]:
    """Find the images of a role: in the folders named for it, else what the sources offer.

    Synthetic images train beside them; without any others only if they are to train alone.

    Args:
        progress: whether a bar may be shown while images are made.
    Raises:
        ValueError: a folder, a photograph or an image of them cannot be used.
    """
    share = config.synthetic_share if role == "train" else 0.0
    found = [] if share == 1 else _find_photographs(config, role, scale, progress)

    # A file of each synthetic image is made on first use and kept in the user's cache.
    if share > 0 and (found or share == 1):
        pairs = tuple(synthetic_pictures(progress=progress))
        folder = pairs[0].hr.parent
        found.append(Found(SYNTHETIC, folder, folder, pairs, ()))
    return found


def _find_photographs(config: DataConfig, role: Role, scale: int, progress: bool) -> list[Found]:
    """Find the images of the folders named for a role, else those of the sources."""
    if named := config.folders(role):
        lr = config.lr_folders(role)
        return [
            open_folder(Path(folder), role=role, scale=scale, lr=lr_folder)
            for folder, lr_folder in zip(named, lr, strict=True)
        ]

    # Without named folders the sources of the configuration give the images.
    lr_choice = FROM_HR if config.makes_lr else None
    found = []
    for name, source in config.sources.items():
        if isinstance(source, PhotoSource):
            found.append(_find_builtin(name, source, role, scale, progress))
        else:
            found.append(_find_in_root(name, source, role, scale, lr_choice))
    return [folder for folder in found if folder is not None]


def _find_in_root(
    name: str, source: FolderSource, role: Role, scale: int, lr: str | None
) -> Found | None:
    """Find the part of a data set that serves a role; None where it has none."""
    if source.root is None:
        raise ValueError(
            f"data.sources.{name}.root is not set; name the folder: "
            f"data.sources.{name}.root=/data/{name}"
        )

    root, key = Path(source.root), f"data.sources.{name}.root"
    if role == "train":
        return open_folder(
            root, role=role, scale=scale, key=key, source=name, first=source.first, lr=lr
        )
    # Its validation images are for val alone: a search chooses by them, so they cannot test it.
    folder = validation_folder(root) if role == "val" else None

    if folder is None:
        return None
    return open_folder(folder, role=role, scale=scale, key=key, source=name, lr=lr)


def _find_builtin(
    name: str, source: PhotoSource, role: Role, scale: int, progress: bool
) -> Found | None:
    """Find photographs of installed packages; to train on, smaller copies of them too."""
    names = {"train": source.train, "val": source.val, "test": source.test}[role]
    key = f"data.sources.{name}.{role}"
    whole = [photograph(one, source=name, key=key) for one in names]
    if not whole:
        return None

    # Val and test images stay as they are: smaller copies would show the same scene twice.
    scales = source.scales if role == "train" else [1.0]
    pairs = whole if 1 in scales else []
    pairs = pairs + shrunk_photographs(whole, [one for one in scales if one < 1], progress=progress)
    folder = Path(os.path.commonpath([pair.hr.parent for pair in whole]))
    return Found("built-in", folder, folder, tuple(sized(pair, scale) for pair in pairs), ())
