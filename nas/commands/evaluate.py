"""Compute the PSNR of a network on a set of images, by the challenge's protocol.

Without arch= the architecture follows from the file: our own files hold it, and published networks
and their relatives (a SPAN of any width, depth and scale) are recognised by the names and shapes of
their weights. Where a file holds averaged weights (params_ema, ema, ...) beside raw ones, those are
read; weights=FILE:ENTRY chooses another entry.

The images are those of data.test, else those of data.val. Beside the challenge's PSNR stands that
on the Y channel, as papers print it, and how the LR images were made: by MATLAB's bicubic, as the
challenge does, or otherwise. Proxy weights are evaluated with the base over which they were
trained.

Examples:
    nas evaluate arch=published/span weights=team00_SPAN.pth data=folder data.test=/data/Set5
    nas evaluate weights=spanx2_ch48.pth data=folder data.test=/data/Set5
    nas evaluate arch=mine.yaml weights=mine.pth data=folder data.test=/data/Set14 out=set14.csv
    nas evaluate arch=runs/mine:knee data=folder data.test=/data/Set5
    nas evaluate arch=runs/mine:knee data=folder data.test=/data/Set5/GTmod12 data.lr=/data/Set5/LR
    nas evaluate arch=exports/mine/arch.json weights=exports/mine/weights.safetensors
"""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from rich import box
from rich.table import Table

from nas.analysis.picks import pick
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
from nas.search.store.run_folder.run_directory import write
from nas.search.store.run_folder.runs import load_run
from nas.system.console import open_console, print_lines
from nas.system.files.drafts import check_target
from nas.system.files.file_names import escape_name
from nas.train.weights import find_spec, read_metadata, read_upscaler
from search_spaces import ArchSpec
from search_spaces.checkpoints.official import describe_origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The result of one image.

    Attributes:
        height: of the LR image, in pixels.
        width: of the LR image.
        psnr_db: over R, G and B, by the challenge's protocol.
        psnr_y_db: on the luma of BT.601.
        lr_origin: how the LR images were made.
    """

    image: str
    height: int
    width: int
    psnr_db: float
    psnr_y_db: float
    lr_origin: str


def run(
    *, arch: str | None, weights: str | None, data: DataConfig, device: str, out: str | None
) -> None:
    """Upscale the images, print the PSNRs and, with `out`, write them as CSV."""
    if out is not None:
        check_target("out", out, "CSV file")

    # Without arch= the file tells the architecture.
    where = pick_device(device)
    named = None if arch is None else resolve_arch(arch)
    path = find_weights(arch, weights)
    # The scale of the images is the network's, so it comes before them.
    spec = named or find_spec(path)
    upscaler, source = read_upscaler(spec, path)
    upscaler = upscaler.to(where)

    images, lr_origin, notices = open_images(data, spec.scale)
    rows, problems = evaluate(upscaler, images, where, lr_origin=lr_origin)
    if not rows:
        raise ValueError(f"data.{images.name}: no image could be read; {problems[0]}")
    if out is not None:
        write(Path(out), as_csv(rows))

    # The figures mean little without the protocol and the origin of the LR images beside them.
    console = open_console()
    print_lines(console, ["", _describe_network(arch, spec, path, source)])
    console.print(_make_table(rows, images.name))
    skipped = [f"skipped {problem}" for problem in problems]
    written = [f"written: {out}"] if out is not None else []
    lines = [f"LR is {lr_origin}.", f"{PROTOCOL}.", f"{PROTOCOL_Y}.", *notices, *skipped, *written]
    print_lines(console, lines)


def _describe_network(arch: str | None, spec: ArchSpec, weights: Path, source: str) -> str:
    """Return the line on the network and its weights that stands above the table.

    Args:
        source: which entry of the file was read.
    """
    origin = arch or f"recognised: {describe_origin(spec)}, {describe(spec)}"
    # Weights of a proxy were trained over a base, which evaluation adds again.
    base = read_metadata(weights).base
    residual = f", a proxy's residual with its {base} base added" if base else ""
    return f"{origin}  x{spec.scale}, {spec.arch_id}, weights {source}{residual}"


def find_weights(arch: str | None, weights: str | None) -> Path:
    """Return the file that is named, or the weights that a run keeps of its pick.

    Raises:
        ValueError: none is named and arch is no pick of a run, or the run keeps none of it.
    """
    if weights is not None:
        return Path(weights).expanduser()
    if arch is None:
        raise ValueError(
            "weights has to be given: weights=FILE, .safetensors or .pth, or arch=RUN:PICK"
        )

    # A run keeps weights of its own networks; any other architecture needs a file.
    run_pick = split_pick(arch)
    if run_pick is None:
        raise ValueError(
            f"weights has to be given for arch={arch}: weights=FILE, .safetensors or .pth "
            "(only RUN:PICK has weights of its own)"
        )

    folder, word = run_pick
    state = load_run(folder)

    # Errors name the argument: a run knows nothing of what was typed.
    try:
        return kept_weights(folder, state, pick(state, word))
    except ValueError as error:
        raise ValueError(f"arch={arch}: {error}") from None


def open_images(data: DataConfig, scale: int) -> tuple[ImageSet, str, tuple[str, ...]]:
    """Return the test images, or the val images where no test images are given.

    Returns:
        The images, how their LR images were made, and lines on what was left out.
    Raises:
        ValueError: neither are given, or they cannot be opened.
    """
    # One role after the other: to open val images that are not used could fail for nothing.
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
    """Upscale each image and compute its PSNR.

    Args:
        lr_origin: how the LR images were made, which stands in each row.
    Returns:
        The rows, and the images that could not be read where the data say to go on.
    Raises:
        ImageError: an image cannot be read, and the data say to stop.
        ValueError: the network's output is not finite.
    """
    rows, problems = [], []
    # Images are decoded ahead, in threads, while the network runs.
    loaded = each(images.load, range(len(images)), label="upscaling")
    for name, pair in zip(labels(images), loaded, strict=True):
        # A file that cannot be read ends the evaluation, unless the data say to go on.
        if isinstance(pair, ImageError):
            if images.on_error == "stop":
                raise pair
            problems.append(pair)
            continue

        # A NaN would be clamped to black, and printed as a poor PSNR.
        output, target = upscale_pixels(upscale, *pair, device)
        if not output.isfinite().all():
            raise ValueError(
                f"weights: the network's output for {name} is not finite; they did not train well"
            )
        rows.append(
            Row(
                image=name,
                height=pair[0].shape[0],
                width=pair[0].shape[1],
                psnr_db=psnr_db(output, target, images.scale),
                psnr_y_db=psnr_y_db(output, target, images.scale),
                lr_origin=lr_origin,
            )
        )

    return rows, problems


def as_csv(rows: list[Row]) -> str:
    """Return the rows as CSV; floats are written so that they read back equal.

    There is no row of means: whoever reads the file would take it for an image.
    """
    # The columns are the fields of a row, in their order.
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row.__slots__)
    writer.writerows([getattr(row, name) for name in Row.__slots__] for row in rows)
    return escape_name(text.getvalue())  # of a file whose name is no UTF-8


def _make_table(rows: list[Row], role: str) -> Table:
    """Return a table of an image a row, with the means below."""
    # An image equal to its target has an infinite PSNR, and so has the mean.
    count = f"{len(rows)} image{'s'[: len(rows) != 1]}"
    table = Table(
        title=f"data.{role}, {count}", title_justify="left", box=box.SIMPLE_HEAD, show_footer=True
    )
    table.add_column("image", footer="mean", overflow="fold")
    table.add_column("LR", justify="right", no_wrap=True)

    # Both protocols stand in the heads: the two differ by about 1.8 dB.
    heads = {"psnr_db": "PSNR dB (RGB, challenge)", "psnr_y_db": "PSNR dB (Y, papers)"}
    for name, head in heads.items():
        mean = mean_db({row.image: getattr(row, name) for row in rows})
        table.add_column(head, footer=_format_db(mean), justify="right")

    for row in rows:
        table.add_row(
            row.image,
            f"{row.height}x{row.width}",
            _format_db(row.psnr_db),
            _format_db(row.psnr_y_db),
        )

    return table


def _format_db(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "equal"
