"""SR images of a folder of LR images, as the zip that the challenge takes."""

import io
import re
import zipfile
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from nas.data.folders.folder_names import own_images
from nas.data.pixels.images import read_header, read_image
from nas.measure.quality import to_pixels


def list_images(folder: Path, scale: int) -> list[Path]:
    """Return the LR images of a folder, by name.

    Raises:
        ValueError: it is not there, has no image, one that cannot be used, or two whose SR images
            would have one name.
    """
    if not folder.is_dir():
        raise ValueError(f"lr={folder} is no folder; name the one that holds the LR images")
    files = own_images(folder)
    if not files:
        raise ValueError(f"lr={folder} holds no images; name the folder in which they lie")
    named: dict[str, Path] = {}
    for file in files:
        read_header(file)
        other = named.setdefault(_name_sr(file, scale), file)
        if other != file:
            raise ValueError(
                f"lr={folder}: {other.name} and {file.name} would both become "
                f"{_name_sr(file, scale)}; leave one out"
            )
    return files


def write_zip(net: nn.Module, scale: int, files: list[Path], target: Path) -> None:
    """Write the SR images of LR images into a zip, one PNG each.

    Their names are those of the LR images without the scale: 0801x4.png gives 0801.png.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # PNGs are packed already
        for file in files:
            lr = torch.from_numpy(read_image(file)).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode():
                pixels = to_pixels(net(lr))
            packed = io.BytesIO()
            Image.fromarray(pixels).save(packed, "PNG")
            archive.writestr(_name_sr(file, scale), packed.getvalue())


def _name_sr(lr: Path, scale: int) -> str:
    """Return the name of an LR image's SR image."""
    stem = re.sub(rf"[-_]?x{scale}$", "", lr.stem, flags=re.IGNORECASE) or lr.stem
    return f"{stem}.png"
