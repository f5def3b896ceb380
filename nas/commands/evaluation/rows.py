"""A network run over a set of images: PSNR, SSIM and runtime of each."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from nas.data.pixels.images import ImageError
from nas.data.progress import each
from nas.data.sets import ImageSet, Pixels
from nas.measure.quality import (
    Upscaler,
    full_float32,
    labels,
    mean_db,
    place_pixels,
    psnr_db,
    psnr_y_db,
    to_pixels,
)
from nas.measure.structure import ssim_rgb_and_y
from nas.system.progress import LateBar

RUNTIME_PROTOCOL = (
    "Runtime: one forward an image, batch 1, decoding and writing apart, as the challenge times it; "
    "the mean leaves out the first image, which the challenge's own mean holds"
)
Pair = tuple[Pixels, Pixels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The result of one image.

    Attributes:
        height: of the LR image, in pixels.
        width: of the LR image.
        psnr_db: over R, G and B, by the challenge's protocol.
        psnr_y_db: on the luma of BT.601.
        lr_origin: how the LR images were made.
        ssim: over R, G and B; None: the image is smaller than the window.
        ssim_y: on the luma.
        runtime_ms: of the forward; None: it was not timed.
        role: of the image in the data, val or test.
        peak_mib: most memory that a CUDA device held in the forward; None: on a CPU.
    """

    image: str
    height: int
    width: int
    psnr_db: float
    psnr_y_db: float
    lr_origin: str
    ssim: float | None = None
    ssim_y: float | None = None
    runtime_ms: float | None = None
    role: str = ""
    peak_mib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """The rows of one set of images.

    Attributes:
        problems: the images that could not be read where the data say to go on.
        notices: what was left out when the images were opened, a line each.
    """

    role: str
    lr_origin: str
    rows: list[Row]
    problems: list[ImageError]
    notices: tuple[str, ...] = ()

    @property
    def peak_mib(self) -> float | None:
        """Most memory that a CUDA device held in a forward, as the challenge reports it."""
        return max((row.peak_mib for row in self.rows if row.peak_mib is not None), default=None)

    @property
    def mean_psnr_db(self) -> float:
        """Mean of per-image dB, infinite where an image equals its target."""
        return mean_db({row.image: row.psnr_db for row in self.rows})

    @property
    def mean_psnr_y_db(self) -> float:
        return mean_db({row.image: row.psnr_y_db for row in self.rows})

    @property
    def mean_ssim(self) -> float | None:
        return _average([row.ssim for row in self.rows])

    @property
    def mean_ssim_y(self) -> float | None:
        return _average([row.ssim_y for row in self.rows])

    @property
    def runtime_ms(self) -> float | None:
        """Mean of the forwards, without the first one where there are more."""
        values = [row.runtime_ms for row in self.rows]
        return _average(values[1:] or values)

    @property
    def runtime_with_first_ms(self) -> float | None:
        """Mean of all forwards, as the challenge reports it."""
        return _average([row.runtime_ms for row in self.rows])

    @property
    def first_ms(self) -> float | None:
        return self.rows[0].runtime_ms if self.rows else None


def evaluate_set(
    upscale: Upscaler,
    images: ImageSet,
    device: torch.device,
    *,
    lr_origin: str = "",
    timing: bool = False,
    save: Callable[[int, Pixels], None] | None = None,
) -> tuple[list[Row], list[ImageError]]:
    """Upscale each image and compare it with its target.

    Args:
        lr_origin: how the LR images were made, which stands in each row.
        timing: whether the forwards are timed.
        save: called with the place of an image and its output, (H, W, 3).
    Returns:
        The rows, and the images that could not be read where the data say to go on.
    Raises:
        ImageError: an image cannot be read, and the data say to stop.
        ValueError: the network's output is not finite.
    """
    rows, problems = [], []
    for place, (name, pair) in enumerate(
        zip(labels(images), _load_each(images, ahead=not timing), strict=True)
    ):
        # A file that cannot be read ends the evaluation, unless the data say to go on.
        if isinstance(pair, ImageError):
            if images.on_error == "stop":
                raise pair
            problems.append(pair)
            continue

        # A NaN would be clamped to black, and printed as a poor PSNR.
        output, runtime_ms, peak_mib = _run_forward(upscale, pair[0], device, timing=timing)
        if not output.isfinite().all():
            raise ValueError(
                f"weights: the network's output for {name} is not finite; they did not train well"
            )
        if save is not None:
            save(place, to_pixels(output))
        target = place_pixels(pair[1], device)
        ssim, ssim_y = ssim_rgb_and_y(output, target, images.scale)
        rows.append(
            Row(
                image=name,
                height=pair[0].shape[0],
                width=pair[0].shape[1],
                psnr_db=psnr_db(output, target, images.scale),
                psnr_y_db=psnr_y_db(output, target, images.scale),
                lr_origin=lr_origin,
                ssim=ssim,
                ssim_y=ssim_y,
                runtime_ms=runtime_ms,
                role=images.name,
                peak_mib=peak_mib,
            )
        )

    return rows, problems


def _load_each(images: ImageSet, *, ahead: bool) -> Iterator[Pair | ImageError]:
    """Yield the images in their order.

    Args:
        ahead: decode in threads while the network runs, which would be timed with it.
    """
    if ahead:
        yield from each(images.load, range(len(images)), label="upscaling")
        return
    with LateBar("upscaling", len(images)) as bar:
        for place in range(len(images)):
            try:
                yield images.load(place)
            except ImageError as error:
                yield error
            bar.update(place + 1)


def _run_forward(
    upscale: Upscaler, lr: Pixels, device: torch.device, *, timing: bool
) -> tuple[Tensor, float | None, float | None]:
    """Return the output of an image in full float32; the milliseconds and MiB of a forward.

    On a CUDA device the timed forward is one of its own: the challenge's runs in TF32.
    """
    x = place_pixels(lr, device).float() / 255
    with torch.inference_mode():
        if device.type != "cuda":
            output, milliseconds = _time_forward(upscale, x)
            return output, milliseconds if timing else None, None

        # Read before anything else is computed there: SSIM takes more memory than the network.
        runtime_ms: float | None = None
        torch.cuda.reset_peak_memory_stats(device)
        if timing:
            _, runtime_ms = _time_forward(upscale, x)
            peak_mib = torch.cuda.max_memory_allocated(device) / 2**20
        with full_float32(device):
            output = upscale(x)
        if not timing:
            peak_mib = torch.cuda.max_memory_allocated(device) / 2**20
        return output, runtime_ms, peak_mib


def _time_forward(upscale: Upscaler, x: Tensor) -> tuple[Tensor, float]:
    """Return the output and the milliseconds that it took: on CUDA between two of its events."""
    if x.device.type != "cuda":
        begin = time.perf_counter()
        output = upscale(x)
        return output, 1e3 * (time.perf_counter() - begin)

    make_event: Callable[..., torch.cuda.Event] = torch.cuda.Event
    start, end = make_event(enable_timing=True), make_event(enable_timing=True)
    start.record()
    output = upscale(x)
    end.record()
    torch.cuda.synchronize(x.device)
    return output, float(start.elapsed_time(end))


def save_into(folder: Path, images: ImageSet) -> Callable[[int, Pixels], None]:
    """Return a function that writes outputs as PNG, by the names of their HR images."""
    names = [pair.name for pair in images.pairs]

    def save(place: int, pixels: Pixels) -> None:
        # Two images of one name lie in different folders; here a number tells them apart.
        prefix = f"{place + 1:04d}_" if names.count(names[place]) > 1 else ""
        Image.fromarray(pixels).save(folder / f"{prefix}{names[place]}.png")

    return save


def _average(values: list[float | None]) -> float | None:
    """Return the mean of what is there; None: nothing is."""
    present = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(present) if present else None
