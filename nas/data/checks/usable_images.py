"""Checks that every role's images can serve it, and what is said where they cannot."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from nas.data.checks.rules import resembles_div2k, why_forbidden
from nas.data.config import SYNTHETIC, DataConfig
from nas.data.folders.folder_names import shorten
from nas.data.folders.layouts import Found
from nas.data.folders.places import Role
from nas.data.sets import MAKE_LR, Pair

Problem = tuple[Role, Path, str]  # a file that cannot serve its role, and why


def check_challenge_rules(found: Sequence[tuple[Role, Found]], challenge: str) -> list[str]:
    """Check that no training image is one that the challenge forbids.

    Returns:
        A notice where names only resemble forbidden ones, else nothing.
    Raises:
        ValueError: an image is certainly a forbidden one.
    """
    # Forbidden are the challenge's own validation and test images; val and test data may be any.
    training = [
        (pair.hr, folder.root) for role, folder in found if role == "train" for pair in folder.pairs
    ]
    for file, root in training:
        if reason := why_forbidden(file, root):
            raise ValueError(
                f"data.train holds {shorten(file)}, which {challenge} does not allow to train on: "
                f"{reason}; take it out"
            )

    # A number alone proves nothing: other sets count their images too.
    alike = [file.name for file, _ in training if resembles_div2k(file)]
    if not alike:
        return []
    return [
        f"data.train holds {len(alike)} image(s) with a number of DIV2K's validation or test "
        f"images in the name, such as {alike[0]}: if they are DIV2K's, {challenge} does not allow "
        "to train on them"
    ]


def find_too_small(found: Sequence[tuple[Role, Found]], scale: int) -> list[Problem]:
    """List the val and test images that have no pixel inside the border that PSNR drops."""
    problems: list[Problem] = []
    for role, folder in found:
        for pair in folder.pairs if role != "train" else ():
            # PSNR crops the HR image to a multiple of the scale first.
            height, width = (side - side % scale for side in pair.size)
            if min(height, width) <= 2 * scale:
                size = f"{pair.size[0]}x{pair.size[1]} (height x width)"
                reason = (
                    f"{size} leaves no pixel inside the border of {scale} that PSNR drops on each "
                    "side"
                )
                problems.append((role, pair.hr, reason))
    return problems


def check_patch_fits(
    found: Sequence[tuple[Role, Found]], scale: int, patch: int, config: DataConfig
) -> list[str]:
    """Check that training images hold an LR patch of `patch` x `patch` pixels.

    Returns:
        A notice where some do not and `on_error` is skip: training leaves these out.
    Raises:
        ValueError: some do not and `on_error` is stop, or none does.
    """
    pairs = [pair for role, folder in found if role == "train" for pair in folder.pairs]
    lr_sides = {pair.hr: min(pair.size) // scale for pair in pairs}
    _check_synthetic_sides(pairs, lr_sides, patch)
    small = [pair for pair in pairs if lr_sides[pair.hr] < patch]
    if not small:
        return []

    # Two of them by name and size: enough to find the others.
    names = ", ".join(
        f"{pair.hr.name} ({pair.size[0] // scale}x{pair.size[1] // scale})" for pair in small[:2]
    )
    more = f" and {len(small) - 2} more" if len(small) > 2 else ""
    line = (
        f"{len(small)} of {len(pairs)} training images have LR sides below proxy.patch={patch}: "
        f"{names}{more}"
    )
    if config.on_error == "skip" and len(small) < len(pairs):
        return [f"left out of training: {line}"]

    # The largest patch that every image holds always works.
    way_out = f"use proxy.patch={min(lr_sides.values())}"
    if len(small) < len(pairs):
        way_out += ", or leave them out with data.on_error=skip"
    raise ValueError(f"data.train: {line}; {way_out}")


def _check_synthetic_sides(pairs: Sequence[Pair], lr_sides: dict[Path, int], patch: int) -> None:
    """Refuse a patch that synthetic images do not hold: all of them have one size."""
    synthetic_sides = [lr_sides[pair.hr] for pair in pairs if pair.source == SYNTHETIC]
    if synthetic_sides and min(synthetic_sides) < patch:
        least = min(synthetic_sides)
        raise ValueError(
            f"data.synthetic: synthetic images have LR sides of {least}, below "
            f"proxy.patch={patch}; use proxy.patch={least}, or do without them: data.synthetic=0"
        )


def check_batch_fits(
    pairs: Sequence[Pair], scale: int, patch: int, batch_size: int, config: DataConfig
) -> None:
    """Check that training images hold as many patches side by side as a batch takes.

    Raises:
        ValueError: they hold fewer, so that the patches of a batch would repeat each other.
    """
    count = sum(math.prod(side // scale // patch for side in pair.size) for pair in pairs)
    if count < batch_size:
        way_out = "" if config.synthetic_share else ", or add synthetic ones: data.synthetic=0.5"
        raise ValueError(
            f"data.train: {len(pairs)} training image(s) hold {count} LR patches of "
            f"{patch}x{patch}, fewer than a batch (proxy.batch_size={batch_size}); name more or "
            f"larger images{way_out}"
        )


def skip_or_stop(
    problems: Sequence[Problem], config: DataConfig, *, some_left: Collection[Role]
) -> list[str]:
    """Say which files are skipped, or stop at the first one, as `on_error` asks.

    Args:
        problems: the files that cannot be used.
        config: the data section.
        some_left: the roles that have images besides these.
    Returns:
        A notice for each file.
    Raises:
        ValueError: there are some, and `on_error` is stop.
    """
    if not problems:
        return []
    if config.on_error == "skip":
        return [f"skipped {role}: {path}: {reason}" for role, path, reason in problems]

    role, path, reason = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    way_out = "; repair them or go on without them: data.on_error=skip"
    if role not in some_left:
        way_out = f"; data.{role} has no other images: name some"
    if MAKE_LR in reason:
        way_out = ""  # the reason names it already
    raise ValueError(
        f"{len(problems)} unusable image file(s): {role}: {shorten(path)}: {reason}{more}{way_out}"
    )
