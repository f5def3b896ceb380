"""List the images of each role, check pairs and sizes, say how the LR images were made, and draw samples.

Examples:
    nas data
    nas data data=folder data.train=/data/DIV2K data.val=/data/Set14 data.test=/data/Set5
    nas data data=[div2k,lsdir] data.sources.div2k.root=/data/DIV2K data.sources.lsdir.root=/data/LSDIR
    nas data data=div2k data.sources.div2k.root=/data/DIV2K challenge=ntire2026
    nas data data=folder data.train=/data/mine data.on_error=skip sample=null
    nas data data=folder data.train=/data/mine data.synthetic=0.5 out=samples.png
    nas data data=folder data.test=/data/Set5/GTmod12 data.lr=/data/Set5/LRbicx4
    nas data data=folder data.train=/data/A data.lr_train=/data/A_small data.val=/data/B data.lr=none
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

from nas.data.config import DataConfig
from nas.data.folders.layouts import Found
from nas.data.roles import ALL, Roles, open_roles
from nas.data.sets import ImageSet
from nas.data.sheet import draw_sheet
from nas.score import Challenge
from nas.system.drafts import check_target, replaced


def run(
    *,
    data: DataConfig,
    scale: Literal[2, 3, 4],
    sample: int | None,
    out: str | None,
    challenge: Challenge | None = None,
) -> int:
    """Print what was found and, with `out`, draw samples; gives the exit status."""
    if out is not None:
        check_target("out", out, "PNG file")
        if not out.lower().endswith(".png"):
            raise ValueError(
                f"out={out}: the sheet of samples is a PNG file; name one that ends in .png"
            )
    if sample is not None and sample < 1:
        raise ValueError(f"sample must be at least 1, got {sample=}; use null for all images")
    roles = open_roles(
        data, scale=scale, challenge=challenge.name if challenge else None, sample=sample
    )
    if not roles.found:
        raise ValueError("no images were named; use data=folder data.train=PATH, or data=builtin")
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width of its own: nothing is cut
    console.print(_table(roles, scale))
    for line in summary(roles):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if out is not None:
        _draw_samples(roles, Path(out))
        console.print(f"written: {out}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _draw_samples(roles: Roles, target: Path) -> None:
    """Write the sheet of samples, whole or not at all.

    Raises:
        ValueError: the file is one of the images, or one of these cannot be read.
    """
    sets = [images for role in ALL if (images := roles.get(role)) is not None]
    if any(target.resolve() == pair.hr.resolve() for images in sets for pair in images.pairs):
        raise ValueError(f"out={target}: is one of the images; name another file")
    sheet = draw_sheet(sets)
    with replaced(target) as draft:
        sheet.save(draft, format="PNG")


def summary(roles: Roles) -> list[str]:
    """Say what each role holds in the end, and name what was left out and why."""
    lines = []
    for role in ALL:
        images = roles.get(role)
        if images is None:
            lines.append(f"{role}: none")
            continue
        size = images.num_bytes() / 2**20
        shares = _shares(images)
        lines.append(
            f"{role}: {len(images)} images, {size:.1f} MiB decoded, fingerprint {images.fingerprint}"
            + (f"; patches from {shares}" if role == "train" and len(images.weights) > 1 else "")
        )
    return [*lines, *roles.notices]


def _shares(images: ImageSet) -> str:
    total = sum(weight for _, weight in images.weights)
    return ", ".join(
        f"{name or 'folders'} {100 * weight / total:.3g}%" for name, weight in images.weights
    )


def _table(roles: Roles, scale: int) -> Table:
    table = Table(title=f"Images, scale {scale}", title_justify="left", box=box.SIMPLE_HEAD)
    for head in ("role", "layout"):
        table.add_column(head, no_wrap=True)
    table.add_column("folder", overflow="fold")
    for head in ("images", "problems", "HR size", "files MiB"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("LR")
    for (role, found), origin in zip(roles.found, roles.origins, strict=True):
        table.add_row(
            role,
            found.layout,
            str(found.folder),
            str(len(found.pairs)),
            str(len(found.problems) + len(origin.problems)),
            _sizes(found),
            f"{_file_bytes(found) / 2**20:.1f}",
            str(origin),
        )
    return table


def _sizes(found: Found) -> str:
    """Width x height of the smallest and the largest image."""
    sizes = sorted(
        (width * height, f"{width}x{height}") for height, width in (p.size for p in found.pairs)
    )
    if not sizes:
        return ""
    return sizes[0][1] if sizes[0][1] == sizes[-1][1] else f"{sizes[0][1]}..{sizes[-1][1]}"


def _file_bytes(found: Found) -> int:
    files = [file for pair in found.pairs for file in (pair.hr, pair.lr) if file is not None]
    return sum(file.stat().st_size for file in files)
