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

from nas.analysis.picks import pick
from nas.commands.architectures import kept_weights, resolve_arch, split_pick
from nas.commands.evaluation.files import Report, write_report
from nas.commands.evaluation.rows import Row, SetResult, evaluate_set, save_into
from nas.commands.evaluation.standing import find_standing
from nas.commands.evaluation.tables import (
    describe_conventions,
    describe_gates,
    describe_runtime,
    make_standing_table,
    make_table,
)
from nas.data.config import DataConfig
from nas.data.folders.places import Role
from nas.data.pixels.images import ImageError
from nas.data.roles import open_roles
from nas.data.sets import ImageSet
from nas.export.bundle import check_free
from nas.measure.device import pick_device
from nas.measure.latency.config import LatencyConfig
from nas.measure.quality import Upscaler
from nas.report.words import describe
from nas.score import Challenge
from nas.search.store.run_folder.runs import load_run
from nas.system.console import open_console, print_lines
from nas.system.files.drafts import check_target, replaced_folder
from nas.train.weights import find_spec, read_metadata, read_upscaler
from search_spaces import ArchSpec
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

    # Without arch= the file tells the architecture.
    where = pick_device(device)
    named = None if arch is None else resolve_arch(arch)
    path = find_weights(arch, weights)
    # The scale of the images is the network's, so it comes before them.
    spec = named or find_spec(path)
    upscaler, source = read_upscaler(spec, path)
    opened = open_sets(data, spec.scale)

    sets = evaluate_sets(upscaler.to(where), opened, where, timing=timing, folder=sr_images)
    standing = find_standing(spec, base, baseline, challenge, latency if timing else None, where)
    report = Report(
        name=arch or describe_origin(spec),
        spec=spec,
        weights=source,
        base=read_metadata(path).base,
        device=where,
        sets=sets,
        standing=standing,
    )
    for name in outs:
        write_report(Path(name), report)
    print_report(report, describe_network(arch, spec, path, source), outs)


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


def describe_network(arch: str | None, spec: ArchSpec, weights: Path, source: str) -> str:
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


def evaluate(
    upscale: Upscaler, images: ImageSet, device: torch.device, *, lr_origin: str = ""
) -> tuple[list[Row], list[ImageError]]:
    """Return what `evaluate_set` does, without times and files."""
    return evaluate_set(upscale, images, device, lr_origin=lr_origin)
