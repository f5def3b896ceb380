"""Patches per second: the uint8 patch store against decoding PNG files for every patch, one thread, one run.

    python benchmarks/proxy/patches.py [--seconds 1.0]

The files are made in a temporary folder from the photographs that scikit-image ships: enlarged with Lanczos
to 2040x1356, as DIV2K's are, with slight noise so that the PNG files are as large as DIV2K's (3-6 MB), and to
480x320, as BSDS's are. LR files lie beside them. Both sides draw positions and orientations and give float32
tensors.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from PIL import Image

from nas.data import imresize
from nas.data.builtin.photographs import photograph
from nas.data.folders.layouts import open_folder
from nas.data.patches import PatchStore
from nas.data.sets import ImageSet, Pair

SCALE = 4
NAMES = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket", "ihc")
SIZES = {"DIV2K-sized": (2040, 1356), "BSDS-sized": (480, 320)}
LR_PATCHES = (24, 48, 64)
BATCH = 16
DEMANDED = 200


def make_files(folder: Path, size: tuple[int, int]) -> ImageSet:
    """Write HR and LR files in benchmark layout."""
    noise = np.random.default_rng(0)
    for name in NAMES:
        with Image.open(photograph(name, source="").hr) as file:
            enlarged = np.asarray(
                file.convert("RGB").resize(size, Image.Resampling.LANCZOS), dtype=np.float64
            )
        hr = np.clip(enlarged + noise.normal(0, 2, enlarged.shape), 0, 255).round().astype(np.uint8)
        for image, file_name in (
            (hr, f"HR/{name}.png"),
            (imresize(hr, SCALE), f"LR_bicubic/X4/{name}x4.png"),
        ):
            (folder / file_name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / file_name)
    pairs = open_folder(folder, role="train", scale=SCALE).pairs
    return ImageSet(name="train", pairs=pairs, scale=SCALE)


def decode_patch(pair: Pair, patch: int, draw: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """What a data loader without a store does for each patch."""
    assert pair.lr is not None
    with Image.open(pair.lr) as file:
        lr = np.asarray(file)
    with Image.open(pair.hr) as file:
        hr = np.asarray(file)
    y, x = draw.randrange(lr.shape[0] - patch + 1), draw.randrange(lr.shape[1] - patch + 1)
    turn, flip = draw.randrange(4), draw.random() < 0.5
    tensors = []
    for image, factor in ((lr, 1), (hr, SCALE)):
        crop = image[factor * y : factor * (y + patch), factor * x : factor * (x + patch)]
        crop = np.rot90(crop[:, ::-1] if flip else crop, turn)
        tensors.append(torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).div(255.0))
    return tensors[0], tensors[1]


def rate(call: Callable[[int], object], patches: int, seconds: float) -> float:
    """Patches per second over at least that time, after one call to warm up."""
    call(0)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        count += 1
        call(count)
    return count * patches / (time.perf_counter() - begin)


def measure(kind: str, images: ImageSet, cache: Path, seconds: float) -> None:
    """Print one row for each patch size."""
    store = PatchStore(images, seed=0, progress=False)
    mapped = PatchStore(images, seed=0, memory_mib=0.1, cache=cache, progress=False)
    for patch in LR_PATCHES:
        draw = random.Random(0)
        calls: list[tuple[Callable[[int], object], int]] = [
            (partial(store.batch, batch_size=BATCH, patch=patch), BATCH),
            (partial(mapped.batch, batch_size=BATCH, patch=patch), BATCH),
            (lambda _, p=patch, d=draw: decode_patch(d.choice(images.pairs), p, d), 1),
        ]
        ours, files, theirs = (rate(call, patches, seconds) for call, patches in calls)
        verdict = "yes" if ours / theirs >= DEMANDED else "no"
        rates = f"{ours:>9.0f} {files:>9.0f} {theirs:>7.1f} {ours / theirs:>6.0f}"
        print(f"{kind:<12} {patch:>8} {rates}  {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="time of each measurement")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    heads = f"{'store/s':>9} {'mapped/s':>9} {'PNG/s':>7} {'ratio':>6}"
    print(f"{'files':<12} {'LR patch':>8} {heads}  at least {DEMANDED}")
    with tempfile.TemporaryDirectory() as temporary:
        for kind, size in SIZES.items():
            images = make_files(Path(temporary) / kind, size)
            measure(kind, images, Path(temporary) / "cache", seconds)
            largest = max(pair.hr.stat().st_size for pair in images.pairs) / 2**20
            print(
                f"{'':<12} {len(images)} images {size[0]}x{size[1]}, PNG files of up to {largest:.1f} MiB"
            )


if __name__ == "__main__":
    main()
