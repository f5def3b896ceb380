"""The three roles of data: train, select (all that a search sees), report (read once); no scene in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.data.builtin import photograph
from nas.data.config import DataConfig, FolderSource, PhotoSource
from nas.data.hashes import LIMIT, NUM_BITS, Hash, image_hash, nearest
from nas.data.images import ImageError, read_image
from nas.data.layouts import Found, Role, open_folder, sized, validation_folder
from nas.data.progress import each
from nas.data.rules import why_forbidden
from nas.data.sets import ImageSet, Pair

ALL: tuple[Role, ...] = ("train", "select", "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The opened sets; a role that nothing was given for is None."""

    train: ImageSet | None
    select: ImageSet | None
    report: ImageSet | None
    notices: tuple[str, ...]  # what was dropped or skipped, one line each, file by file
    found: tuple[tuple[Role, Found], ...]  # what lay in each folder, before anything was dropped

    def get(self, role: Role) -> ImageSet | None:
        return {"train": self.train, "select": self.select, "report": self.report}[role]

    def need(self, role: Role) -> ImageSet:
        """Give the set of a role.

        Raises:
            ValueError: nothing was given for it.
        """
        images = self.get(role)
        if images is None:
            raise ValueError(
                f"data.{role} is not set and no source holds it; name a folder: data.{role}=/path/to/images"
            )
        return images

    @property
    def fingerprints(self) -> dict[str, str]:
        """Role -> fingerprint, of the roles that are there."""
        return {role: images.fingerprint for role in ALL if (images := self.get(role)) is not None}


def open_roles(
    config: DataConfig,
    *,
    scale: int,
    challenge: str | None = None,
    roles: Sequence[Role] = ALL,
    progress: bool = True,
) -> Roles:
    """Find the images of each role, check them, and drop near-duplicates from the lower role.

    Report stands above select, and select above train. Every image is hashed when there are two roles or
    more; a training image from its LR file where it has one. So whatever is validated has been read whole
    before a search starts, its LR files too.

    Args:
        config: the data section.
        scale: 2, 3 or 4.
        challenge: a name; if it begins with "ntire" the challenge's rules on training data hold.
        roles: which of them to open; `evaluate` needs no training images.
        progress: whether a bar may be shown.
    Raises:
        ValueError: a folder is missing or empty, a file cannot be used and `on_error` is stop, an image must
            not
            train under the challenge's rules, or a role has no image left.
    """
    found = [(role, one) for role in roles for one in _find(config, role, scale)]
    if challenge is not None and challenge.lower().startswith("ntire"):
        _refuse_forbidden(found, challenge)
    notices = [notice for _, one in found for notice in one.notices]
    notices += _settle([(role, *problem) for role, one in found for problem in one.problems], config)
    pairs = {role: [pair for other, one in found if other == role for pair in one.pairs] for role in roles}
    if sum(bool(one) for one in pairs.values()) > 1:
        notices += _drop_duplicates(pairs, config, progress)

    weights = tuple(sorted((name, source.weight) for name, source in config.sources.items()))
    sets: dict[Role, ImageSet | None] = dict.fromkeys(ALL)
    for role in {role for role, _ in found}:
        if not pairs[role]:
            raise ValueError(f"data.{role} has no image left: {_summary(notices)}")
        used = {pair.source for pair in pairs[role]}
        kept = tuple((name, weight) for name, weight in weights if name in used)
        sets[role] = ImageSet(
            name=role, pairs=tuple(pairs[role]), scale=scale, weights=kept, on_error=config.on_error
        )
    return Roles(**sets, notices=tuple(notices), found=tuple(found))


def _find(config: DataConfig, role: Role, scale: int) -> list[Found]:
    """What the folders named for a role hold, else what the sources offer for it."""
    if named := config.folders(role):
        return [open_folder(Path(folder), role=role, scale=scale) for folder in named]
    offers = [_offer(name, source, role, scale) for name, source in config.sources.items()]
    return [offer for offer in offers if offer is not None]


def _offer(name: str, source: FolderSource | PhotoSource, role: Role, scale: int) -> Found | None:
    if isinstance(source, PhotoSource):
        names = {"train": source.train, "select": source.select, "report": source.report}[role]
        key = f"data.sources.{name}.{role}"
        pairs = [sized(photograph(one, source=name, key=key), scale) for one in names]
        return Found("built-in", pairs[0].hr.parent, pairs[0].hr.parent, tuple(pairs), ()) if pairs else None
    if source.root is None:
        raise ValueError(
            f"data.sources.{name}.root is not set; name the folder: data.sources.{name}.root=/data/{name}"
        )
    root, key = Path(source.root), f"data.sources.{name}.root"
    if role == "train":
        return open_folder(root, role=role, scale=scale, key=key, source=name, first=source.first)
    # Its validation images serve for selecting only: reporting on them as well would read them twice.
    folder = validation_folder(root) if role == "select" else None
    return open_folder(folder, role=role, scale=scale, key=key, source=name) if folder is not None else None


def _refuse_forbidden(found: list[tuple[Role, Found]], challenge: str) -> None:
    for role, one in found:
        for pair in one.pairs if role == "train" else ():
            if reason := why_forbidden(pair.hr, one.root):
                raise ValueError(
                    f"data.train holds {pair.hr}, which {challenge} does not allow to train on: {reason}; "
                    "take it out (data.sources.div2k.first=800 keeps DIV2K's training images)"
                )


def _settle(problems: Sequence[tuple[Role, Path, str]], config: DataConfig) -> list[str]:
    """Stop at what cannot be used, or say that it was skipped."""
    if not problems:
        return []
    lines = [f"{role}: {path}: {reason}" for role, path, reason in problems]
    if config.on_error == "stop":
        raise ValueError(
            f"{len(lines)} unusable image file(s): {_summary(lines)}; "
            "repair them or go on without them: data.on_error=skip"
        )
    return [f"skipped {line}" for line in lines]


def _summary(lines: Sequence[str], shown: int = 3) -> str:
    more = f"; and {len(lines) - shown} more" if len(lines) > shown else ""
    return "; ".join(lines[:shown]) + more


def _drop_duplicates(pairs: dict[Role, list[Pair]], config: DataConfig, progress: bool) -> list[str]:
    """Take out of each lower role what a higher one shows too; gives the notices, changes `pairs`."""
    problems: list[tuple[Role, Path, str]] = []
    hashes: dict[Role, Hash] = {}
    for role, members in pairs.items():
        hash_of = _training_hash if role == "train" else _validation_hash
        hashed = list(each(hash_of, members, label=f"comparing {role} images", show=progress))
        problems += [(role, one.path, one.reason) for one in hashed if isinstance(one, ImageError)]
        good = [
            (pair, one) for pair, one in zip(members, hashed, strict=True) if not isinstance(one, ImageError)
        ]
        pairs[role] = [pair for pair, _ in good]
        hashes[role] = np.stack([one for _, one in good]) if good else np.zeros((0, 16, 16), dtype=np.float32)
    notices = _settle(problems, config)

    above: Role
    for role, above in (("select", "report"), ("train", "report"), ("train", "select")):
        if pairs.get(role) and pairs.get(above):
            index, bits = nearest(hashes[role], hashes[above])
            keep = bits > LIMIT
            for i in np.flatnonzero(~keep):
                twin = pairs[above][index[i]]
                notices.append(
                    f"dropped {pairs[role][i].hr} from {role}: near-duplicate of {twin.hr} in {above} "
                    f"({bits[i]:.0f} of {NUM_BITS} bits of the image hash differ)"
                )
            pairs[role] = [pair for pair, kept in zip(pairs[role], keep, strict=True) if kept]
            hashes[role] = hashes[role][keep]
    return notices


def _training_hash(pair: Pair) -> Hash:
    """From the LR file where there is one: decoding the HR images of a large set takes minutes."""
    return image_hash(read_image(pair.lr or pair.hr))


def _validation_hash(pair: Pair) -> Hash:
    """Reads both files, so that a damaged one is found before the search that would end over it."""
    if pair.lr is not None:
        read_image(pair.lr)
    return image_hash(read_image(pair.hr))
