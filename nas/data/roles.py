"""The three roles of data: train, val (a search compares on it), test (read once, at the end)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nas.data.checks.lr_origin import Origin, find_origin, say_origins
from nas.data.checks.usable_images import (
    Problem,
    check_batch_fits,
    check_challenge_rules,
    check_patch_fits,
    find_too_small,
    skip_or_stop,
)
from nas.data.config import SYNTHETIC, DataConfig
from nas.data.duplicates.overlaps import drop_overlaps
from nas.data.folders.layouts import Found
from nas.data.folders.places import Role
from nas.data.sets import ImageSet, Pair
from nas.data.sources import find_images
from nas.system.files.file_names import escape_name

ALL: tuple[Role, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The opened sets.

    Attributes:
        train, val, test: the images of each role; None where nothing was given for it.
        notices: what was dropped or skipped and why, one line each, file by file.
        found: role and content of each folder, before anything was dropped.
        origins: how the LR images of each folder were made, in the order of `found`.
    """

    train: ImageSet | None
    val: ImageSet | None
    test: ImageSet | None
    notices: tuple[str, ...]
    found: tuple[tuple[Role, Found], ...]
    origins: tuple[Origin, ...]

    def get(self, role: Role) -> ImageSet | None:
        """Return the set of a role; None where nothing was given for it."""
        return {"train": self.train, "val": self.val, "test": self.test}[role]

    def need(self, role: Role) -> ImageSet:
        """Return the set of a role.

        Raises:
            ValueError: nothing was given for it.
        """
        images = self.get(role)
        if images is None:
            raise ValueError(
                f"data.{role} is not set and no source holds it; name a folder: "
                f"data.{role}=/path/to/images"
            )
        return images

    def lr_origin(self, role: Role) -> str:
        """Say how the LR images of a role were made, as it stands beside every PSNR on them."""
        return say_origins(
            [
                origin
                for (other, _), origin in zip(self.found, self.origins, strict=True)
                if other == role
            ]
        )

    @property
    def lr_origins(self) -> dict[str, str]:
        """Say for each role that has images how its LR images were made."""
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
        """Return the fingerprint of each role that has images."""
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
    """Find the images of each role, check them, and keep every scene in one role.

    Test stands above val, and val above train: what a higher role shows too is dropped from the
    lower one. With two roles or more every image is hashed, a training image from its LR file where
    it has one. So every val and test image has been read whole, its LR file too, before a search
    starts.

    Args:
        config: the data section.
        scale: 2, 3 or 4.
        challenge: its rules on training data hold if the name begins with "ntire".
        roles: which of them to open; `evaluate` needs no training images.
        patch, batch_size: side in pixels, and number side by side, of the LR patches that training
            images have to hold; None: not asked.
        sample: LR files of a folder that are recomputed from HR, see `find_origin`.
        progress: whether a bar may be shown.
    Raises:
        ValueError: a folder is missing or empty, a file cannot be used and `on_error` is stop, an
            image must not train under the challenge's rules, or a role has no image left.

    Example:
        >>> roles = open_roles(config, scale=4)  # data.train and data.test name folders
        >>> roles.need("test").pairs[0].name, roles.val
        ('baby', None)
        >>> lr, hr = roles.need("test").load(0)
        >>> lr.shape, hr.shape
        ((16, 20, 3), (64, 80, 3))
    """
    found, notices = _find_folders(config, roles, scale, challenge, progress)

    # Each file by itself, then the scenes of all roles against each other.
    origins, problems, file_notices = _check_files(
        found, roles, config, scale=scale, patch=patch, sample=sample, progress=progress
    )
    pairs = _usable_pairs(found, roles, {path for _, path, _ in problems})
    pairs, overlap_notices = _drop_shared_scenes(
        pairs, config, scale, progress, compares="train" in roles
    )
    notices += file_notices + overlap_notices
    sets = _make_sets({role for role, _ in found}, pairs, config, scale, notices, progress)
    # A batch takes its patches from what is left in the end.
    if patch is not None and sets["train"] is not None:
        check_batch_fits(sets["train"].pairs, scale, patch, batch_size, config)
    lines = tuple(map(escape_name, notices))
    return Roles(**sets, notices=lines, found=tuple(found), origins=tuple(origins))


def _find_folders(
    config: DataConfig, roles: Sequence[Role], scale: int, challenge: str | None, progress: bool
) -> tuple[list[tuple[Role, Found]], list[str]]:
    """Find the images of each role, folder by folder; return them, and notices.

    Raises:
        ValueError: a folder is missing or empty, or an image must not train under the challenge's
            rules.
    """
    found = [
        (role, folder)
        for role in roles
        for folder in find_images(config, role, scale, progress=progress)
    ]
    notices = [notice for _, folder in found for notice in folder.notices]
    # Names of forbidden images cost nothing to check, so this comes before any pixel.
    if challenge is not None and challenge.lower().startswith("ntire"):
        notices += check_challenge_rules(found, challenge)
    return found, notices


def _check_files(
    found: Sequence[tuple[Role, Found]],
    roles: Sequence[Role],
    config: DataConfig,
    *,
    scale: int,
    patch: int | None,
    sample: int | Literal["few"] | None,
    progress: bool,
) -> tuple[list[Origin], list[Problem], list[str]]:
    """Check each file by itself, and each LR file against its HR file; see `open_roles`.

    Returns:
        How each folder's LR images were made; the files that cannot be used; notices.
    """
    # Cheap checks first, names and sizes, which headers tell ...
    problems = [(role, *problem) for role, folder in found for problem in folder.problems]
    problems += find_too_small(found, scale)
    usable = _usable_pairs(found, roles, {path for _, path, _ in problems})
    some_left = {role for role, pairs in usable.items() if _own_pairs(pairs, config)}
    notices = skip_or_stop(problems, config, some_left=some_left)
    if patch is not None:
        notices += check_patch_fits(found, scale, patch, config)

    # ... then LR images that are recomputed from HR.
    origins = [
        find_origin(folder.pairs, scale=scale, sample=sample, progress=progress)
        for _, folder in found
    ]
    mismatches = [
        (role, error.path, error.reason)
        for (role, _), origin in zip(found, origins, strict=True)
        for error in origin.problems
    ]
    notices += skip_or_stop(mismatches, config, some_left=ALL)

    return origins, problems + mismatches, notices


def _drop_shared_scenes(
    pairs: dict[Role, list[Pair]],
    config: DataConfig,
    scale: int,
    progress: bool,
    *,
    compares: bool,
) -> tuple[dict[Role, list[Pair]], list[str]]:
    """Drop from each role what a higher one shows too; return what is left, and notices.

    Args:
        compares: whether the base's PSNR is compared with, as in a search: then an image that the
            base equals is dropped too.
    """
    with_images = [role for role, role_pairs in pairs.items() if role_pairs]
    judges_alone = compares and with_images in (["val"], ["test"])
    if len(with_images) < 2 and not judges_alone:
        return pairs, []

    # Synthetic images show nobody's scene: they are not compared.
    synthetic = [pair for pair in pairs.get("train", ()) if pair.source == SYNTHETIC]
    compared = {
        role: [pair for pair in role_pairs if pair.source != SYNTHETIC]
        for role, role_pairs in pairs.items()
    }
    overlaps = drop_overlaps(compared, scale=scale, progress=progress)
    notices = skip_or_stop(overlaps.problems, config, some_left=ALL) + overlaps.notices
    left = overlaps.pairs
    if synthetic:
        left["train"] = [*left["train"], *synthetic]
    return left, notices


def _usable_pairs(
    found: Sequence[tuple[Role, Found]], roles: Sequence[Role], unusable: set[Path]
) -> dict[Role, list[Pair]]:
    """Return the pairs of each role, without those of which a file cannot be used."""
    pairs: dict[Role, list[Pair]] = {role: [] for role in roles}
    for role, folder in found:
        pairs[role] += [
            pair for pair in folder.pairs if pair.hr not in unusable and pair.lr not in unusable
        ]

    return pairs


def _own_pairs(pairs: Sequence[Pair], config: DataConfig) -> Sequence[Pair]:
    """Return the pairs without synthetic ones, which only count where they train alone."""
    if config.synthetic_share == 1:
        return pairs
    return [pair for pair in pairs if pair.source != SYNTHETIC]


def _make_sets(
    roles: set[Role],
    pairs: dict[Role, list[Pair]],
    config: DataConfig,
    scale: int,
    notices: list[str],
    progress: bool,
) -> dict[Role, ImageSet | None]:
    """Make the sets of the roles; a role without an image of its own raises ValueError."""
    sets: dict[Role, ImageSet | None] = dict.fromkeys(ALL)
    for role in roles:
        if not _own_pairs(pairs[role], config):
            raise ValueError(f"data.{role} has no image left: {_join_some(notices)}")
        images = _make_set(role, pairs[role], config, scale)
        sets[role] = images.with_digests(progress=progress)
    return sets


def _make_set(role: Role, pairs: Sequence[Pair], config: DataConfig, scale: int) -> ImageSet:
    """Make the set of a role, with the weights of its sources."""
    used = {pair.source for pair in pairs}
    weights = {name: source.weight for name, source in config.sources.items() if name in used}
    if SYNTHETIC in used and len(used) > 1:
        # Named folders weigh 1 together, as one source. Synthetic images get the weight w for which
        # w / (w + sum of the others) is their share.
        weights |= dict.fromkeys(used - weights.keys() - {SYNTHETIC}, 1.0)
        share = config.synthetic_share
        weights[SYNTHETIC] = sum(weights.values()) * share / (1 - share)

    return ImageSet(
        name=role,
        pairs=tuple(pairs),
        scale=scale,
        weights=tuple(sorted(weights.items())),
        on_error=config.on_error,
    )


def _join_some(lines: Sequence[str], most: int = 3) -> str:
    """Join the first lines, and say how many more there are."""
    more = f"; and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(lines[:most]) + more
