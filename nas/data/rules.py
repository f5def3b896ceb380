"""What the NTIRE challenges forbid in training."""

from __future__ import annotations

import re
from pathlib import Path

_FORBIDDEN_FOLDER = re.compile(r"DIV2K(_LSDIR)?_(valid|test)", re.IGNORECASE)
_TEST_FOLDER = re.compile(r"(^|[_\-. ])test($|[_\-. ])", re.IGNORECASE)
_DIV2K_NUMBER = re.compile(r"0(80[1-9]|8[1-9]\d|9\d\d)|1000")


def why_forbidden(file: Path, root: Path) -> str | None:
    """Say why a file must not train under NTIRE's rules, or None.

    DIV2K is told by its four-digit names, wherever they lie: 0801-0900 are validation, 0901-1000 test images.

    Args:
        file: an HR image.
        root: the folder that the user named; a folder above it may be called test, its name and those below
            not.
    """
    number = re.sub(r"x\d$", "", file.stem)
    if _DIV2K_NUMBER.fullmatch(number):
        part = "validation" if number <= "0900" else "test"
        return f"DIV2K {number} is a {part} image by its name; if it is not DIV2K's, rename it"
    folders = file.parent.parts
    if any(_FORBIDDEN_FOLDER.match(folder) for folder in folders):
        return "an image of the challenge's validation or test set"
    below = folders[max(0, len(root.parts) - 1) :]
    if any(_TEST_FOLDER.search(folder) for folder in below):
        return "an image of a test set by its folder's name"
    if "HR" in folders and folders[-1] == "val":
        return "an image of LSDIR's validation set, part of DIV2K_LSDIR_valid"
    return None
