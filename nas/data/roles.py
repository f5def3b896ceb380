"""The three roles of data: train, val (all that a search sees), test (read once); no scene in two."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nas.data.checks.lr_origin import Origin, find_origin, say_origins
from nas.data.checks.rules import resembles_div2k, why_forbidden
from nas.data.config import SYNTHETIC, DataConfig
from nas.data.duplicates.overlaps import drop_overlaps
from nas.data.folders.folder_names import shorten
from nas.data.folders.layouts import Found
from nas.data.folders.places import Role
from nas.data.sets import MAKE_LR, ImageSet, Pair
from nas.data.sources import find_images

ALL: tuple[Role, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The opened sets; a role that nothing was given for is None."""

    train: ImageSet | None
    val: ImageSet | None
    test: ImageSet | None
    notices: tuple[str, ...]  # what was dropped or skipped, one line each, file by file
    found: tuple[tuple[Role, Found], ...]  # what lay in each folder, before anything was dropped
    origins: tuple[Origin, ...]  # of the LR images of each folder

    def get(self, role: Role) -> ImageSet | None:
        return {"train": self.train, "val": self.val, "test": self.test}[role]

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

    def lr_origin(self, role: Role) -> str:
        """Say how the LR images of a role were made; stands beside every PSNR on them."""
        return say_origins(
            [one for (other, _), one in zip(self.found, self.origins, strict=True) if other == role]
        )

    @property
    def lr_origins(self) -> dict[str, str]:
        """Role -> how its LR images were made, of the roles that are there."""
        return {role: self.lr_origin(role) for role in ALL if self.get(role) is not None}

    @property
    def lr_notice(self) -> str:
        """Say in one line how the LR images of all roles were made."""
        by_words: dict[str, list[str]] = {}
        for role, words in self.lr_origins.items():
            by_words.setdefault(words, []).append(role)
        return ". ".join(f"{', '.join(roles)}: LR is {words}" for words, roles in by_words.items())

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
    patch: int | None = None,
    batch_size: int = 1,
    sample: int | Literal["few"] | None = "few",
    progress: bool = True,
) -> Roles:
    """Find the images of each role, check them, and drop from the lower role what a higher one shows too.

    Test stands above val, and val above train. Every image is hashed when there are two roles or
    more; a training image from its LR file where it has one. So whatever is validated has been read whole
    before a search starts, its LR files too.

    Args:
        config: the data section.
        scale: 2, 3 or 4.
        challenge: a name; if it begins with "ntire" the challenge's rules on training data hold.
        roles: which of them to open; `evaluate` needs no training images.
        patch: side in pixels of the LR patches that training images have to hold; None: not asked.
        batch_size: number of such patches that they have to hold side by side.
        sample: LR files of a folder that are recomputed from HR, see `find_origin`.
        progress: whether a bar may be shown.
    Raises:
        ValueError: a folder is missing or empty, a file cannot be used and `on_error` is stop, an image must
            not train under the challenge's rules, or a role has no image left.
    """
    found = [
        (role, one) for role in roles for one in find_images(config, role, scale, progress=progress)
    ]
    notices = [notice for _, one in found for notice in one.notices]
    if challenge is not None and challenge.lower().startswith("ntire"):
        notices += _refuse_forbidden(found, challenge)

    # What cannot be used, by headers first: names and sizes, then LR images that are recomputed.
    problems = [(role, *problem) for role, one in found for problem in one.problems]
    problems += find_too_small(found, scale)
    usable = _usable_pairs(found, roles, {path for _, path, _ in problems})
    notices += _settle(
        problems,
        config,
        some_left={role for role, left in usable.items() if _own_pairs(left, config)},
    )
    if patch is not None:
        notices += _refuse_below_patch(found, scale, patch, config)
    origins = [
        find_origin(one.pairs, scale=scale, sample=sample, progress=progress) for _, one in found
    ]
    turned = [
        (role, one.path, one.reason)
        for (role, _), origin in zip(found, origins, strict=True)
        for one in origin.problems
    ]
    notices += _settle(turned, config)

    # What two roles share; synthetic images show nobody's scene.
    pairs = _usable_pairs(found, roles, {path for _, path, _ in problems + turned})
    synthetic = [pair for pair in pairs.get("train", ()) if pair.source == SYNTHETIC]
    if sum(bool(one) for one in pairs.values()) > 1:
        compared = {
            role: [pair for pair in some if pair.source != SYNTHETIC]
            for role, some in pairs.items()
        }
        overlaps = drop_overlaps(compared, progress=progress)
        notices += _settle(overlaps.problems, config) + overlaps.notices
        pairs = overlaps.pairs
        if synthetic:
            pairs["train"] = [*pairs["train"], *synthetic]

    sets: dict[Role, ImageSet | None] = dict.fromkeys(ALL)
    for role in {role for role, _ in found}:
        if not _own_pairs(pairs[role], config):
            raise ValueError(f"data.{role} has no image left: {_summary(notices)}")
        sets[role] = _as_set(role, pairs[role], config, scale)
    if patch is not None and sets["train"] is not None:
        _refuse_below_batch(sets["train"].pairs, scale, patch, batch_size, config)
    return Roles(**sets, notices=tuple(notices), found=tuple(found), origins=tuple(origins))


def _usable_pairs(
    found: Sequence[tuple[Role, Found]], roles: Sequence[Role], unusable: set[Path]
) -> dict[Role, list[Pair]]:
    """The pairs of each role, without those of which a file cannot be used."""
    pairs: dict[Role, list[Pair]] = {role: [] for role in roles}
    for role, one in found:
        pairs[role] += [
            pair for pair in one.pairs if pair.hr not in unusable and pair.lr not in unusable
        ]
    return pairs


def _own_pairs(pairs: Sequence[Pair], config: DataConfig) -> Sequence[Pair]:
    """Return the pairs without the synthetic ones, which stand for no others unless they train alone."""
    if config.synthetic_share == 1:
        return pairs
    return [pair for pair in pairs if pair.source != SYNTHETIC]


def _as_set(role: Role, pairs: Sequence[Pair], config: DataConfig, scale: int) -> ImageSet:
    used = {pair.source for pair in pairs}
    weights = {name: source.weight for name, source in config.sources.items() if name in used}
    if SYNTHETIC in used and len(used) > 1:
        weights |= dict.fromkeys(used - weights.keys() - {SYNTHETIC}, 1.0)  # folders, as one source
        share = config.synthetic_share
        weights[SYNTHETIC] = sum(weights.values()) * share / (1 - share)
    return ImageSet(
        name=role,
        pairs=tuple(pairs),
        scale=scale,
        weights=tuple(sorted(weights.items())),
        on_error=config.on_error,
    )


def _refuse_forbidden(found: list[tuple[Role, Found]], challenge: str) -> list[str]:
    """Refuse training images that the challenge forbids; gives a notice on names that resemble theirs."""
    training = [(pair.hr, one.root) for role, one in found if role == "train" for pair in one.pairs]
    for file, root in training:
        if reason := why_forbidden(file, root):
            raise ValueError(
                f"data.train holds {shorten(file)}, which {challenge} does not allow to train on: {reason}; "
                "take it out"
            )
    alike = [file.name for file, _ in training if resembles_div2k(file)]
    if not alike:
        return []
    return [
        f"data.train holds {len(alike)} image(s) with a number of DIV2K's validation or test images in the "
        f"name, such as {alike[0]}: if they are DIV2K's, {challenge} does not allow to train on them"
    ]


def find_too_small(found: Sequence[tuple[Role, Found]], scale: int) -> list[tuple[Role, Path, str]]:
    """List the judged images of which no pixel is left inside the border that PSNR drops."""
    problems: list[tuple[Role, Path, str]] = []
    for role, one in found:
        for pair in one.pairs if role != "train" else ():
            height, width = (side - side % scale for side in pair.size)
            if min(height, width) <= 2 * scale:
                size = f"{pair.size[0]}x{pair.size[1]} (height x width)"
                reason = f"{size} leaves no pixel inside the border of {scale} that PSNR drops on each side"
                problems.append((role, pair.hr, reason))
    return problems


def _refuse_below_patch(
    found: Sequence[tuple[Role, Found]], scale: int, patch: int, config: DataConfig
) -> list[str]:
    """Refuse training images that do not hold a patch, or say that training will leave them out."""
    pairs = [pair for role, one in found if role == "train" for pair in one.pairs]
    sides = {pair.hr: min(pair.size) // scale for pair in pairs}
    made = [sides[pair.hr] for pair in pairs if pair.source == SYNTHETIC]
    if made and min(made) < patch:
        raise ValueError(
            f"data.synthetic: synthetic images have LR sides of {min(made)}, below proxy.patch={patch}; use "
            f"proxy.patch={min(made)}, or do without them: data.synthetic=0"
        )
    small = [pair for pair in pairs if sides[pair.hr] < patch]
    if not small:
        return []
    names = ", ".join(
        f"{pair.hr.name} ({pair.size[0] // scale}x{pair.size[1] // scale})" for pair in small[:2]
    )
    more = f" and {len(small) - 2} more" if len(small) > 2 else ""
    line = f"{len(small)} of {len(pairs)} training images have LR sides below proxy.patch={patch}: {names}{more}"
    if config.on_error == "skip" and len(small) < len(pairs):
        return [f"left out of training: {line}"]
    least = min(sides.values())
    way = f"use proxy.patch={least}"
    if len(small) < len(pairs):
        way += ", or leave them out with data.on_error=skip"
    raise ValueError(f"data.train: {line}; {way}")


def _refuse_below_batch(
    pairs: Sequence[Pair], scale: int, patch: int, batch_size: int, config: DataConfig
) -> None:
    """Refuse training images that hold fewer patches side by side than a batch takes."""
    count = sum(math.prod(side // scale // patch for side in pair.size) for pair in pairs)
    if count < batch_size:
        way = "" if config.synthetic_share else ", or add synthetic ones: data.synthetic=0.5"
        raise ValueError(
            f"data.train: {len(pairs)} training image(s) hold {count} LR patches of {patch}x{patch}, fewer "
            f"than a batch (proxy.batch_size={batch_size}); name more or larger images{way}"
        )


def _settle(
    problems: Sequence[tuple[Role, Path, str]],
    config: DataConfig,
    *,
    some_left: Collection[Role] = ALL,
) -> list[str]:
    """Stop at what cannot be used, or say that it was skipped.

    Args:
        some_left: the roles that have images without these.
    """
    if not problems:
        return []
    if config.on_error == "stop":
        role, path, reason = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        way = "; repair them or go on without them: data.on_error=skip"
        if role not in some_left:
            way = f"; data.{role} has no other images: name some"
        if MAKE_LR in reason:
            way = ""
        raise ValueError(
            f"{len(problems)} unusable image file(s): {role}: {shorten(path)}: {reason}{more}{way}"
        )
    return [f"skipped {role}: {path}: {reason}" for role, path, reason in problems]


def _summary(lines: Sequence[str], shown: int = 3) -> str:
    more = f"; and {len(lines) - shown} more" if len(lines) > shown else ""
    return "; ".join(lines[:shown]) + more
