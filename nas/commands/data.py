"""List and check the images of each role, say how the LR images were made, and draw samples.

Examples:
    nas data
    nas data data=folder data.train=/data/DIV2K data.val=/data/Set14 data.test=/data/Set5
    nas data data=[div2k,lsdir] data.sources.div2k.root=/data/DIV2K data.sources.lsdir.root=/LSDIR
    nas data data=div2k data.sources.div2k.root=/data/DIV2K challenge=ntire2026
    nas data data=folder data.train=/data/mine data.on_error=skip sample=null
    nas data data=folder data.train=/data/mine data.synthetic=0.5 out=samples.png
    nas data data=folder data.test=/data/Set5/GTmod12 data.lr=/data/Set5/LRbicx4
    nas data data=folder data.train=/data/A data.lr_train=/data/A_lr data.val=/data/B data.lr=none
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich import box
from rich.table import Table

from nas.data.config import DataConfig
from nas.data.folders.layouts import Found
from nas.data.roles import ALL, Roles, open_roles
from nas.data.sets import ImageSet
from nas.data.sheet import draw_sheet
from nas.score import Challenge
from nas.system.console import open_console, print_lines
from nas.system.files.drafts import check_target, replaced
from nas.system.files.file_names import escape_name


def run(
    *,
    data: DataConfig,
    scale: Literal[2, 3, 4],
    sample: int | None,
    out: str | None,
    challenge: Challenge | None = None,
) -> int:
    """Print the images of each role and, with `out`, draw samples; return the exit status."""
    # What can be refused is refused before images are read, which may take minutes.
    if out is not None:
        check_target("out", out, "PNG file")
        if not out.lower().endswith(".png"):
            raise ValueError(
                f"out={out}: the sheet of samples is a PNG file; name one that ends in .png"
            )
    if sample is not None and sample < 1:
        raise ValueError(f"sample must be at least 1, got {sample=}; use null for all images")

    challenge_name = challenge.name if challenge else None

    # As a search would open them, so that what it would refuse is refused here.
    roles = open_roles(data, scale=scale, challenge=challenge_name, sample=sample)
    if not roles.found:
        raise ValueError("no images were named; use data=folder data.train=PATH, or data=builtin")

    # First what was found in each folder, then what is left of it in each role.
    console = open_console()
    console.print(_make_table(roles, scale))
    print_lines(console, summary(roles))
    if out is not None:
        _draw_samples(roles, Path(out))
        print_lines(console, [f"written: {out}"])

    return 0


def _draw_samples(roles: Roles, target: Path) -> None:
    """Write the sheet of samples, whole or not at all.

    Raises:
        ValueError: the file is one of the images, or one of these cannot be read.
    """
    # An image that is overwritten by a sheet of samples is gone.
    opened = [roles.get(role) for role in ALL]
    sets = [images for images in opened if images is not None]
    if any(target.resolve() == pair.hr.resolve() for images in sets for pair in images.pairs):
        raise ValueError(f"out={target}: is one of the images; name another file")
    sheet = draw_sheet(sets)
    with replaced(target) as draft:
        sheet.save(draft, format="PNG")


def summary(roles: Roles) -> list[str]:
    """Return lines on what each role holds in the end, and on what was left out and why."""
    lines = []
    for role in ALL:
        images = roles.get(role)
        if images is None:
            lines.append(f"{role}: none")
            continue
        # Sources weigh something in training alone, where patches are drawn from them.
        draws = role == "train" and len(images.weights) > 1
        lines.append(
            f"{role}: {len(images)} images, {images.num_bytes() / 2**20:.1f} MiB decoded, "
            f"fingerprint {images.fingerprint}"
            + (f"; patches from {_list_shares(images)}" if draws else "")
        )

    return [*lines, *roles.notices]


def _list_shares(images: ImageSet) -> str:
    total = sum(weight for _, weight in images.weights)
    return ", ".join(
        f"{name or 'folders'} {100 * weight / total:.3g}%" for name, weight in images.weights
    )


def _make_table(roles: Roles, scale: int) -> Table:
    """Return a table of the folders that were named: a row a folder."""
    # Paths may be long and fold; numbers are never cut.
    table = Table(title=f"Images, scale {scale}", title_justify="left", box=box.SIMPLE_HEAD)
    for head in ("role", "layout"):
        table.add_column(head, no_wrap=True)
    table.add_column("folder", overflow="fold")
    for head in ("images", "problems", "HR size", "files MiB"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("LR")

    # A folder counts with all that was found; duplicates across roles are dropped after.
    for (role, found), origin in zip(roles.found, roles.origins, strict=True):
        table.add_row(
            role,
            found.layout,
            escape_name(found.folder),
            str(len(found.pairs)),
            str(len(found.problems) + len(origin.problems)),
            _format_sizes(found),
            f"{_sum_file_bytes(found) / 2**20:.1f}",
            str(origin),
        )

    return table


def _format_sizes(found: Found) -> str:
    """Return width x height of the smallest and the largest image, as 480x320..2040x1404."""
    # By area: of a portrait and a landscape of the same sides neither is larger.
    sizes = [pair.size for pair in found.pairs]
    names = [name for _, name in sorted((w * h, f"{w}x{h}") for h, w in sizes)]
    if not names:
        return ""
    return names[0] if names[0] == names[-1] else f"{names[0]}..{names[-1]}"


def _sum_file_bytes(found: Found) -> int:
    files = [file for pair in found.pairs for file in (pair.hr, pair.lr) if file is not None]
    return sum(file.stat().st_size for file in files)
