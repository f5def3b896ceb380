"""Compute the PSNR of a network on a set of images, by the challenge's protocol.

Without arch= the architecture follows from the file: our own say it, and the names and shapes of published
networks and their relatives (a SPAN of any width, depth and scale) tell it. Where a file holds averaged
weights (params_ema, ema, ...) beside raw ones, those are read; weights=FILE:ENTRY chooses another entry.

The images are those of data.test, else those of data.val. Beside the challenge's PSNR stands that on the
Y channel, as papers print it, and how the LR images were made: by MATLAB's bicubic, as the challenge does, or
otherwise. Proxy weights are evaluated with the base over which they were trained.

Examples:
    nas evaluate arch=published/span weights=team00_SPAN.pth data=folder data.test=/data/Set5
    nas evaluate weights=spanx2_ch48.pth data=folder data.test=/data/Set5
    nas evaluate arch=mine.yaml weights=mine.safetensors data=folder data.test=/data/Set14 out=set14.csv
    nas evaluate arch=runs/mine:knee data=folder data.test=/data/Set5
    nas evaluate arch=runs/mine:knee data=folder data.test=/data/Set5/GTmod12 data.lr=/data/Set5/LRbicx4
    nas evaluate arch=exports/mine/arch.json weights=exports/mine/7f3a.safetensors
"""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from nas.analysis.picks import pick
from nas.cli.message import printable
from nas.commands.architectures import kept_weights, resolve_arch, split_pick
from nas.data.config import DataConfig
from nas.data.folders.places import Role
from nas.data.pixels.images import ImageError
from nas.data.progress import each
from nas.data.roles import open_roles
from nas.data.sets import ImageSet
from nas.measure.device import pick_device
from nas.measure.quality import (
    PROTOCOL,
    PROTOCOL_Y,
    Upscaler,
    labels,
    mean_db,
    psnr_db,
    psnr_y_db,
    upscale_pixels,
)
from nas.report.words import describe
from nas.search.store.run_directory import write
from nas.search.store.runs import load_run
from nas.system.drafts import check_target
from nas.train.weights import find_spec, read_metadata, read_upscaler
from search_spaces.checkpoints.official import describe_origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image: its LR size in pixels, PSNR in dB over RGB and on Y, and how the LR images were made."""

    image: str
    height: int
    width: int
    psnr_db: float
    psnr_y_db: float
    lr_origin: str


def run(
    *, arch: str | None, weights: str | None, data: DataConfig, device: str, out: str | None
) -> None:
    """Load, upscale, print and, with `out`, write."""
    if out is not None:
        check_target("out", out, "CSV file")
    where = pick_device(device)
    named = None if arch is None else resolve_arch(arch)
    path = find_weights(arch, weights)
    spec = named or find_spec(path)
    upscaler, source = read_upscaler(spec, path)
    upscaler = upscaler.to(where)
    images, lr_origin, notices = open_images(data, spec.scale)
    rows, problems = evaluate(upscaler, images, where, lr_origin=lr_origin)
    if not rows:
        raise ValueError(f"data.{images.name}: no image could be read; {problems[0]}")
    if out is not None:
        write(Path(out), as_csv(rows))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width of its own: nothing is cut
    base = read_metadata(path).base
    origin = arch or f"recognised: {describe_origin(spec)}, {describe(spec)}"
    lines = [
        f"\n{origin}  x{spec.scale}, {spec.arch_id}, weights {source}"
        + (f", a proxy's residual with its {base} base added" if base else "")
    ]
    console.print(*lines, markup=False, highlight=False, soft_wrap=True)
    console.print(_table(rows, images.name))
    notes = [
        f"LR is {lr_origin}.",
        f"{PROTOCOL}.",
        f"{PROTOCOL_Y}.",
        *notices,
        *(f"skipped {problem}" for problem in problems),
    ]
    for line in notes + ([f"written: {out}"] if out is not None else []):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def find_weights(arch: str | None, weights: str | None) -> Path:
    """The file that is named, or the weights that a run keeps of its pick.

    Raises:
        ValueError: none is named and arch is no pick of a run, or the run keeps none of it.
    """
    if weights is not None:
        return Path(weights).expanduser()
    if arch is None:
        raise ValueError(
            "weights has to be given: weights=FILE, .safetensors or .pth, or arch=RUN:PICK"
        )
    run_pick = split_pick(arch)
    if run_pick is None:
        raise ValueError(
            f"weights has to be given for arch={arch}: weights=FILE, .safetensors or .pth (only RUN:PICK has "
            "weights of its own)"
        )
    folder, which = run_pick
    state = load_run(folder)
    try:
        return kept_weights(folder, state, pick(state, which))
    except ValueError as error:
        raise ValueError(f"arch={arch}: {error}") from None


def open_images(data: DataConfig, scale: int) -> tuple[ImageSet, str, tuple[str, ...]]:
    """The test images, or the val images where no test images are given; how their LR images were made,
    and what was left out.
    """
    roles: tuple[Role, ...] = ("test", "val")
    for role in roles:
        opened = open_roles(data, scale=scale, roles=(role,))
        images = opened.get(role)
        if images is not None:
            return images, opened.lr_origin(role), opened.notices
    raise ValueError("no images are named; use data=folder data.test=/path/to/images")


def evaluate(
    upscale: Upscaler, images: ImageSet, device: torch.device, *, lr_origin: str = ""
) -> tuple[list[Row], list[ImageError]]:
    """Upscale each image; gives the rows, and what could not be read where the data say to go on.

    Args:
        lr_origin: how the LR images were made, which stands in each row.

    Raises:
        ImageError: an image cannot be read, and the data say to stop.
        ValueError: the network's output is not finite.
    """
    rows, problems = [], []
    loaded = each(images.load, range(len(images)), label="upscaling")
    for name, pair in zip(labels(images), loaded, strict=True):
        if isinstance(pair, ImageError):
            if images.on_error == "stop":
                raise pair
            problems.append(pair)
            continue
        output, target = upscale_pixels(upscale, *pair, device)
        if not output.isfinite().all():
            raise ValueError(
                f"weights: the network's output for {name} is not finite; they did not train well"
            )
        rgb, luma = (one(output, target, images.scale) for one in (psnr_db, psnr_y_db))
        rows.append(
            Row(
                image=name,
                height=pair[0].shape[0],
                width=pair[0].shape[1],
                psnr_db=rgb,
                psnr_y_db=luma,
                lr_origin=lr_origin,
            )
        )
    return rows, problems


def as_csv(rows: list[Row]) -> str:
    """One row an image, floats that read back equal; no mean, which is no image."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row.__slots__)
    writer.writerows([getattr(row, name) for name in Row.__slots__] for row in rows)
    return text.getvalue()


def _table(rows: list[Row], role: str) -> Table:
    count = f"{len(rows)} image{'s'[: len(rows) != 1]}"
    table = Table(
        title=f"data.{role}, {count}", title_justify="left", box=box.SIMPLE_HEAD, show_footer=True
    )
    table.add_column("image", footer="mean", overflow="fold")
    table.add_column("LR", justify="right", no_wrap=True)
    means = [
        mean_db({row.image: getattr(row, name) for row in rows})
        for name in ("psnr_db", "psnr_y_db")
    ]
    for head, mean in zip(("PSNR dB (RGB, challenge)", "PSNR dB (Y, papers)"), means, strict=True):
        table.add_column(head, footer=_db(mean), justify="right")
    for row in rows:
        table.add_row(
            printable(row.image), f"{row.height}x{row.width}", _db(row.psnr_db), _db(row.psnr_y_db)
        )
    return table


def _db(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "equal"
