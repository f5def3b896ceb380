"""Evaluate a network on sets of images as the challenge does: quality, runtime, costs, score, gates.

Without arch= the architecture follows from the file: our own files hold it, and published networks
and their relatives (a SPAN of any width, depth and scale) are recognised by the names and shapes of
their weights. Where a file holds averaged weights (params_ema, ema, ...) beside raw ones, those are
read; weights=FILE:ENTRY chooses another entry.

The images are those of data.val and data.test where both are named, else those of data.test, else
those of data.val. Beside the challenge's PSNR stand that on the Y channel, as papers print it, SSIM
in both forms, and how the LR images were made: by MATLAB's bicubic, as the challenge does, or
otherwise. Proxy weights are evaluated with the base over which they were trained.

Runtimes are taken while the images are upscaled, the first one apart; the score comes from a paired
reading of network and baseline in the same run. timing=false goes without both. out= takes the form
that its ending names: .csv an image a row, .json everything, .txt the challenge's results.txt.

Examples:
    nas evaluate arch=published/span weights=team00_SPAN.pth data=folder data.test=/data/Set5
    nas evaluate weights=spanx2_ch48.pth data=folder data.test=/data/Set5 timing=false
    nas evaluate arch=mine.yaml weights=mine.pth data=folder data.test=/data/Set14 out=set14.csv
    nas evaluate weights=mine.pth data=folder data.val=/valid data.test=/test out=[results.txt,x.json]
    nas evaluate arch=runs/mine:knee data=folder data.test=/data/Set5 sr_images=sr
    nas evaluate arch=runs/mine:knee data=folder data.test=/data/Set5/GTmod12 data.lr=/data/Set5/LR
    nas evaluate arch=exports/mine/arch.json weights=exports/mine/weights.safetensors
"""

from contextlib import ExitStack
from pathlib import Path

import torch

from nas.commands.architectures import resolve_arch
from nas.commands.evaluation.files import Report, write_report
from nas.commands.evaluation.rows import SetResult, evaluate_set, save_into
from nas.commands.evaluation.standing import find_standing
from nas.commands.evaluation.tables import (
    describe_conventions,
    describe_gates,
    describe_runtime,
    make_standing_table,
    make_table,
)
from nas.commands.networks import open_network
from nas.data.config import DataConfig
from nas.data.folders.places import Role
from nas.data.roles import open_roles
from nas.data.sets import ImageSet
from nas.export.bundle import check_free
from nas.measure.device import pick_device
from nas.measure.latency.config import LatencyConfig
from nas.measure.quality import Upscaler
from nas.score import Challenge
from nas.system.console import open_console, print_lines
from nas.system.files.drafts import check_target, replaced_folder
from search_spaces.checkpoints.official import describe_origin


def run(
    *,
    arch: str | None,
    weights: str | None,
    baseline: str,
    data: DataConfig,
    timing: bool,
    device: str,
    out: str | list[str] | None,
    sr_images: str | None,
    latency: LatencyConfig,
    challenge: Challenge,
) -> None:
    """Upscale the images, print what was found and write what `out` and `sr_images` name."""
    outs = [out] if isinstance(out, str) else out or []
    for name in outs:
        check_target("out", name, "file")
    if sr_images is not None:
        check_free(Path(sr_images).expanduser(), key="sr_images")
    base = resolve_arch(baseline, key="baseline")

    where = pick_device(device)
    network = open_network(arch, weights)
    spec = network.spec
    # The scale of the images is the network's, so it comes before them.
    opened = open_sets(data, spec.scale)

    sets = evaluate_sets(network.upscaler.to(where), opened, where, timing=timing, folder=sr_images)
    standing = find_standing(spec, base, baseline, challenge, latency if timing else None, where)
    report = Report(
        name=arch or describe_origin(spec),
        spec=spec,
        weights=network.source,
        base=network.base,
        device=where,
        sets=sets,
        standing=standing,
    )
    for name in outs:
        write_report(Path(name), report)
    print_report(report, network.describe(), outs)


def print_report(report: Report, title: str, outs: list[str]) -> None:
    """Print the tables, and the lines without which their figures mean little."""
    console = open_console()
    print_lines(console, ["", title])
    lines = []
    for images in report.sets:
        console.print(make_table(images))
        lines += [f"LR is {images.lr_origin}.", *describe_runtime(images)]
        lines += [describe_gates(images, report.standing), *images.notices]
        lines += [f"skipped {problem}" for problem in images.problems]
    console.print(make_standing_table(report.standing))
    lines += describe_conventions(report.standing)
    print_lines(console, [*lines, *(f"written: {name}" for name in outs)])


def open_sets(data: DataConfig, scale: int) -> list[tuple[ImageSet, str, tuple[str, ...]]]:
    """Return the val and test images where both are named; else the test, else the val images.

    Returns:
        For each set the images, how their LR images were made, and lines on what was left out.
    Raises:
        ValueError: none are named, or they cannot be opened.
    """
    # One role after the other: to open images that are not used could fail for nothing.
    both: tuple[Role, ...] = ("val", "test")
    is_both = all(map(data.folders, both))
    sets = []
    for role in both if is_both else both[::-1]:
        opened = open_roles(data, scale=scale, roles=(role,))
        images = opened.get(role)
        if images is not None:
            sets.append((images, opened.lr_origin(role), opened.notices))
        if sets and not is_both:
            break
    if not sets:
        raise ValueError("no images are named; use data=folder data.test=/path/to/images")
    return sets


def evaluate_sets(
    upscaler: Upscaler,
    opened: list[tuple[ImageSet, str, tuple[str, ...]]],
    device: torch.device,
    *,
    timing: bool,
    folder: str | None,
) -> list[SetResult]:
    """Evaluate every set; with a folder, write the upscaled images, all of them or none.

    Raises:
        ValueError: no image of a set could be read, or as `evaluate`.
    """
    results = []
    with ExitStack() as stack:
        target = None if folder is None else Path(folder).expanduser()
        draft = None if target is None else stack.enter_context(replaced_folder(target))
        for images, lr_origin, notices in opened:
            save = None
            if draft is not None:
                # One set lies in the folder itself, two in folders of their own.
                place = draft / images.name if len(opened) > 1 else draft
                place.mkdir(exist_ok=True)
                save = save_into(place, images)
            rows, problems = evaluate_set(
                upscaler, images, device, lr_origin=lr_origin, timing=timing, save=save
            )
            if not rows:
                raise ValueError(f"data.{images.name}: no image could be read; {problems[0]}")
            results.append(
                SetResult(
                    role=images.name,
                    lr_origin=lr_origin,
                    rows=rows,
                    problems=problems,
                    notices=notices,
                )
            )
    return results
