"""A sheet of samples: what the images of each role look like, whole and pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from nas.data.pixels.images import ImageError, read_image
from nas.data.sets import ImageSet, Pair

TILE = 176  # side in pixels
GAP = 6
COLUMNS = 8
LINE = 24  # height of a caption
INK, PAPER = (30, 30, 30), (255, 255, 255)


def draw_sheet(sets: Sequence[ImageSet]) -> Image.Image:
    """Draw samples of image sets: for each source of a role whole images above crops of them.

    Args:
        sets: one a role.
    Returns:
        RGB; a crop shows the middle of its image at one pixel a pixel.
    Raises:
        ImageError: a file cannot be read, and the set's `on_error` is stop.
    """
    # One row a source, as high as its caption and two tiles.
    rows = [
        (images, source, pairs)
        for images in sets
        for source, pairs in _group_by_source(images).items()
    ]

    height = len(rows) * (LINE + 2 * (TILE + GAP)) + GAP
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)

    top = GAP
    for images, source, pairs in rows:
        # A caption, whole images as a reader knows them, then pixels as a network sees them.
        caption = (
            f"{images.name}: {source or 'folder'}, {len(pairs)} images; below, their middle pixel "
            "by pixel"
        )
        pen.text((GAP, top), caption, fill=INK, font=font)
        top += LINE

        for column, pair in enumerate(_choose_spread(pairs)):
            try:
                image = Image.fromarray(read_image(pair.hr))
            except ImageError:
                if images.on_error == "stop":
                    raise
                continue  # training goes on without it too
            left = GAP + column * (TILE + GAP)
            sheet.paste(
                ImageOps.contain(image, (TILE, TILE), Image.Resampling.LANCZOS), (left, top)
            )
            sheet.paste(_crop_middle(image), (left, top + TILE + GAP))
        top += 2 * (TILE + GAP)
    return sheet


def _group_by_source(images: ImageSet) -> dict[str, list[Pair]]:
    """Group the pairs of a set by their source."""
    groups: dict[str, list[Pair]] = {}
    for pair in images.pairs:
        groups.setdefault(pair.source, []).append(pair)
    return groups


def _choose_spread(pairs: Sequence[Pair]) -> list[Pair]:
    """Choose as many as fit in a row, evenly spread."""
    places = np.linspace(0, len(pairs) - 1, min(COLUMNS, len(pairs))).round().astype(int)
    return [pairs[place] for place in places]


def _crop_middle(image: Image.Image) -> Image.Image:
    """Cut the middle of an image, a tile or what there is of it."""
    width, height = min(TILE, image.width), min(TILE, image.height)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
