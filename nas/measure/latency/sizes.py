"""The LR sizes at which latency is read: a typical photograph's on a GPU, a patch's on a CPU."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """An LR image size and its share of a test set; the shares of a list sum to 1."""

    height: int
    width: int
    weight: float

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


MAX_SIZES = 20  # of a folder; a round times every one
CPU_SIZES = ((64, 64, 1.0),)  # SPAN takes about 10 ms there on one core
# Height, width and weight: common sizes of the challenge's LR images (DIV2K and LSDIR, x4). The
# weights are assumed.
CHALLENGE_SIZES = (
    (339, 510, 0.43),
    (384, 510, 0.03),
    (249, 375, 0.03),
    (510, 339, 0.03),
    (342, 510, 0.03),
    (288, 510, 0.03),
    (252, 189, 0.03),
    (228, 342, 0.03),
    (240, 360, 0.03),
    (195, 258, 0.03),
    (204, 306, 0.03),
    (216, 288, 0.03),
    (330, 510, 0.03),
    (231, 348, 0.03),
    (213, 321, 0.03),
    (216, 324, 0.03),
    (321, 510, 0.03),
    (318, 510, 0.03),
    (258, 387, 0.03),
    (252, 378, 0.03),
)


def weighted(sizes: tuple[tuple[int, int, float], ...]) -> tuple[Size, ...]:
    """Return sizes with their weights scaled to sum to 1."""
    total = sum(weight for _, _, weight in sizes)
    return tuple(
        Size(height=height, width=width, weight=weight / total) for height, width, weight in sizes
    )


def folder_sizes(folder: Path) -> tuple[Size, ...]:
    """Return the sizes of the images in a folder of LR images, most frequent first, at most 20.

    A size weighs as much as it has images.

    Raises:
        ValueError: there is no such folder, or it holds no images.
        ImageError: a file cannot be read.
    """
    # Imported here: without a folder of sizes, measuring needs no more than torch.
    from nas.data.pixels.images import EXTENSIONS, read_size

    if not folder.is_dir():
        raise ValueError(
            f"sizes={folder}: there is no such folder; give one with LR images, or [[height,width]]"
        )

    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS]
    if not paths:
        raise ValueError(f"sizes={folder}: no images in it, of {', '.join(sorted(EXTENSIONS))}")

    # Only the headers of the files are read.
    counts = Counter(map(read_size, paths)).items()
    most_frequent = sorted(counts, key=lambda item: (-item[1], item[0]))[:MAX_SIZES]
    return weighted(tuple((height, width, float(n)) for (height, width), n in most_frequent))
