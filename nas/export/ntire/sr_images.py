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


def list_images(folder: Path) -> list[Path]:
    """Return the LR images of a folder, by name.

    Raises:
        ValueError: it is not there, has no image, or one that cannot be used.
    """
    if not folder.is_dir():
        raise ValueError(f"lr={folder} is no folder; name the one that holds the LR images")
    files = own_images(folder)
    if not files:
        raise ValueError(f"lr={folder} holds no images; name the folder in which they lie")
    for file in files:
        read_header(file)
    return files


def write_zip(net: nn.Module, scale: int, files: list[Path], target: Path) -> None:
    """Write the SR images of LR images into a zip, one PNG each.

    Their names are those of the LR images without the scale: 0801x4.png gives 0801.png.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # PNGs are packed already
        for file in files:
            lr = torch.from_numpy(read_image(file)).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode():
                levels = (255 * net(lr)[0].clamp(0, 1)).round().byte()
            packed = io.BytesIO()
            Image.fromarray(levels.permute(1, 2, 0).numpy()).save(packed, "PNG")
            archive.writestr(f"{_cut_scale(file.stem, scale)}.png", packed.getvalue())


def _cut_scale(stem: str, scale: int) -> str:
    return re.sub(rf"[-_]?x{scale}$", "", stem, flags=re.IGNORECASE) or stem
