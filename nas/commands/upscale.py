"""Upscale a photograph, or every image of a folder, with a trained network.

Without arch= the architecture follows from the file of weights, and arch=RUN:PICK without weights=
takes those that the run keeps, as nas evaluate does. A proxy's weights are used with the base over
which they were trained.

Grey stays grey, 16 bits stay 16 bits, transparency is upscaled by the bicubic kernel, and the
colour profile is kept. A photograph that its EXIF data turn is written upright. A file is written
whole or not at all, in the format of its ending. A file of a folder that cannot be used is told,
and the others are upscaled; the exit status is then 1.

Examples:
    nas upscale in=photo.png out=big.png weights=team00_SPAN.pth
    nas upscale in=photo.jpg out=big.png arch=exports/mine/arch.json weights=exports/mine/weights.safetensors
    nas upscale in=photo.png out=big.png arch=runs/mine:knee
    nas upscale in=photos out=photos_x4 weights=team00_SPAN.pth
    nas upscale in=scan.tif out=scan_x4.tif weights=team00_SPAN.pth tile=256
"""

from pathlib import Path
from typing import Literal

from nas.cli.message import one_line
from nas.commands.networks import open_network
from nas.data.pixels.images import EXTENSIONS, ImageError
from nas.measure.device import pick_device
from nas.system.console import PlainConsole, open_console, print_lines
from nas.system.files.drafts import check_target
from nas.system.files.file_names import escape_name
from nas.system.progress import LateBar
from nas.system.streams import say_aside
from nas.upscale.planning import Planner
from nas.upscale.reading import read_picture
from nas.upscale.upscaler import PictureUpscaler
from nas.upscale.writing import check_holds, find_format, write_picture

Existing = Literal["refuse", "skip", "replace"]
SOME_FAILED = 1  # exit status: not every image of a folder was upscaled


def run(
    *,
    in_: str,
    out: str,
    arch: str | None,
    weights: str | None,
    tile: Literal["auto"] | int,
    existing: Existing,
    device: str,
) -> int:
    """Upscale, and print a line for each image; return the exit status."""
    # What can be refused without the network is refused before it is read.
    if isinstance(tile, int) and tile < 0:
        raise ValueError(f"tile={tile}: a tile has at least one pixel; use auto, 0 or a number")
    if not in_ or not out:
        raise ValueError(f"{'out' if in_ else 'in'} is empty; name an image file, or a folder")
    source, target = Path(in_).expanduser(), Path(out).expanduser()
    pairs, left_out = list_pairs(source, target, existing)

    where = pick_device(device)
    network = open_network(arch, weights)
    net, spec = network.upscaler.to(where), network.spec
    planner = Planner(net, spec, device=where, tile=None if tile == "auto" else tile)
    upscaler = PictureUpscaler(net, spec.scale, where)

    console = open_console()
    print_lines(console, ["", network.describe()])
    print_lines(console, left_out)
    if not source.is_dir():
        for pair in pairs:
            _upscale_file(*pair, planner, upscaler, console)
        return 0
    return _upscale_folder(pairs, planner, upscaler, console)


def list_pairs(
    source: Path, target: Path, existing: Existing
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return the files to read and to write, and lines on what is left out.

    Raises:
        ValueError: there is nothing to read, or what would be written is there already.
    """
    if not source.exists():
        raise ValueError(f"in={source}: there is no such file or folder")
    if source.resolve() == target.resolve() or (target.exists() and source.samefile(target)):
        raise ValueError(f"out={target} is in={source}: name another, nothing is overwritten")

    pairs, left_out = (
        _list_folder(source, target) if source.is_dir() else _check_file(source, target)
    )
    taken = [pair for pair in pairs if pair[1].exists()]
    if not taken or existing == "replace":
        return pairs, left_out
    if existing == "skip":
        line = f"left as they are, for they are there already: {len(taken)} of {len(pairs)}"
        return [pair for pair in pairs if pair not in taken], [*left_out, line]
    more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
    raise ValueError(
        f"out={target}: {taken[0][1]}{more} is there already; name another place, or use "
        "existing=skip or existing=replace"
    )


def _check_file(source: Path, target: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return the one pair of a file that is read and a file that is written."""
    if not source.is_file():  # a pipe would be waited for
        raise ValueError(f"in={source} is neither a file nor a folder")
    check_target("out", str(target), "picture")
    try:
        find_format(target)
    except ValueError as error:
        raise ValueError(f"out={error}") from None
    return [(source, target)], []


def _list_folder(source: Path, target: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return a pair for each image of a folder; the result has the name of the image."""
    if target.exists() and not target.is_dir():
        raise ValueError(f"out={target} is a file, and in={source} a folder; name a folder")
    files = sorted(path for path in source.iterdir() if path.is_file())
    images = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not images:
        raise ValueError(
            f"in={source}: there are no images in it, of {', '.join(sorted(EXTENSIONS))}"
        )
    others = len(files) - len(images)
    lines = [f"passed over, for their endings are no image's: {others} files"] if others else []
    return [(path, target / path.name) for path in images], lines


def _upscale_folder(
    pairs: list[tuple[Path, Path]],
    planner: Planner,
    upscaler: PictureUpscaler,
    console: PlainConsole,
) -> int:
    """Upscale one file after the other; say which cannot be used, and go on."""
    num_failed = 0
    with LateBar("upscaling", len(pairs)) as bar:
        for place, (source, target) in enumerate(pairs):
            try:
                _upscale_file(source, target, planner, upscaler, console, show_tiles=False)
            except (ImageError, MemoryError) as error:
                num_failed += 1
                say_aside(one_line(f"nas upscale: {error or f'{source}: memory is out'}"))
            bar.update(place + 1)

    if num_failed:
        say_aside(f"nas upscale: {num_failed} of {len(pairs)} images were not upscaled")
    return SOME_FAILED if num_failed else 0


def _upscale_file(
    source: Path,
    target: Path,
    planner: Planner,
    upscaler: PictureUpscaler,
    console: PlainConsole,
    *,
    show_tiles: bool = True,
) -> None:
    """Upscale one file and print a line on it.

    Raises:
        ImageError: it cannot be used; nothing is written.
    """
    try:
        picture = read_picture(source, planner.check_size)
        lost = check_holds(target, picture, upscaler.scale)
        plan = planner.plan(picture.height, picture.width)
        with LateBar(f"upscaling {escape_name(source.name)}", 1, show=show_tiles) as bar:
            result = upscaler(picture, plan, bar.update)
    except ImageError:
        raise
    except ValueError as error:
        if str(error).startswith("weights"):  # no other image would fare better
            raise
        raise ImageError(source, str(error)) from None

    write_picture(target, result)
    kinds = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGB with alpha"}
    line = (
        f"{target}: {result.width}x{result.height} (width x height), "
        f"{kinds[result.pixels.shape[2]]}, {result.bits} bits, "
        f"{plan.describe(picture.height, picture.width)}"
    )
    if plan.why_inexact:
        lost.append(f"{plan.why_inexact}: borders of the tiles may show")
    print_lines(console, [escape_name(line), *(f"  {reason}" for reason in lost)])
