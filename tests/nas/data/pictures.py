"""Pictures and configurations for the tests of data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data import imresize
from nas.data.config import DataConfig

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
CASES = SHARED.parent / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not here")


def picture(seed, height=64, width=80):
    """A scene of its own: smooth coloured noise, never a near-duplicate of another seed's."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def write_pairs(hr, lr, names, *, scale=4, first_seed=0):
    """HR files and their MATLAB LR files named as DIV2K does."""
    for seed, name in enumerate(names, start=first_seed):
        image = picture(seed)
        write(hr / f"{name}.png", image)
        if lr is not None:
            write(lr / f"{name}x{scale}.png", imresize(image, scale))


def config(**given):
    values = {
        "train": None,
        "val": None,
        "test": None,
        "lr": None,
        "lr_train": None,
        "synthetic": 0.0,
        "on_error": "stop",
        "memory_mib": 100.0,
        "cache": None,
    }
    values |= {
        key: str(value) if isinstance(value, Path) else value for key, value in given.items()
    }
    return DataConfig(**values)
