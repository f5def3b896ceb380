"""The photographs inside the wheels of scikit-image and scikit-learn; nothing is downloaded.

conf/data/builtin.yaml says which of them are for training and which for validation.

- In colour: astronaut (512x512), chelsea, a cat (451x300), china, a temple (640x427), coffee
  (600x400), flower and rocket (640x427 each), motorcycle_left and motorcycle_right (741x500 each, a
  stereo pair of one scene: both on one side).
- Grey: camera, a cameraman (512x512), coins (384x303), brick, grass, gravel and moon (512x512
  each), page and text, written or printed (384x191, 448x172).
- In colour, but not of everyday scenes: ihc, a stained section under the microscope (512x512),
  retina (1411x1411) and hubble_deep_field (1000x872).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from nas.data.builtin.made_images import keep_images
from nas.data.pixels.images import read_image
from nas.data.sets import Pair, Pixels

SHRUNK = "photographs-1"  # counts up with every change of how they are made smaller
PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}  # by the name that is imported
FILES = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "brick": ("skimage", "data/brick.png"),
    "camera": ("skimage", "data/camera.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg"),
    "ihc": ("skimage", "data/ihc.png"),
    "moon": ("skimage", "data/moon.png"),
    "motorcycle_left": ("skimage", "data/motorcycle_left.png"),
    "motorcycle_right": ("skimage", "data/motorcycle_right.png"),
    "page": ("skimage", "data/page.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "text": ("skimage", "data/text.png"),
}


def photograph(name: str, *, source: str, key: str = "data.sources.builtin") -> Pair:
    """Find one of the photographs by its name.

    Raises:
        ValueError: an unknown name, or its package is missing or does not carry the file (any
            more).
    """
    if name not in FILES:
        raise ValueError(f"{key}: unknown built-in photograph {name!r}; known: {', '.join(FILES)}")

    package, file = FILES[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        wheel = PACKAGES[package]
        raise ValueError(f"the built-in photograph {name} comes with {wheel}; pip install {wheel}")

    # Not skimage.data: its functions may ask the network for a file that the wheel lacks.
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise ValueError(
            f"this {PACKAGES[package]} does not carry {path}; leave {name} out or use data=folder"
        )
    return Pair(name, path, source=source)


def shrunk_photographs(
    pairs: Sequence[Pair], scales: Sequence[float], *, progress: bool
) -> list[Pair]:
    """Return photographs made smaller: each at each scale, as files in the user's cache.

    Fine detail of a photograph is soft, from the lens and from demosaicing; made smaller it is
    sharp.

    Args:
        pairs: as `photograph` gives them.
        scales: of the sides, above 0 and below 1.
        progress: whether a bar may be shown while they are made.
    """
    named = {f"{pair.name}_{scale:g}": (pair, scale) for pair in pairs for scale in scales}
    makers = {
        name: functools.partial(_shrink_photograph, pair.hr, scale)
        for name, (pair, scale) in named.items()
    }

    files = keep_images(SHRUNK, makers, label="making photographs smaller", progress=progress)
    return [
        replace(pair, name=name, hr=file, made=f"{SHRUNK}/{name}")
        for (name, (pair, _)), file in zip(named.items(), files, strict=True)
    ]


def _shrink_photograph(path: Path, scale: float) -> Pixels:
    """Read an image and resample it with a Lanczos filter."""
    image = Image.fromarray(read_image(path))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))
