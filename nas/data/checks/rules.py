"""What the NTIRE challenges forbid in training.

DIV2K 0801-0900 are validation and 0901-1000 test images. They are told by their names, whole and in
parts:

- Certain, and refused: only what people derive from an image follows the four-digit number, and
    anything
  stands before it (0801, 0801x4, 0801_s001, 0801T0, 0801_flip, mine_0801_rot90, div2k-0801_crop3);
  or the name or a folder of it says DIV2K beside the number, whatever else it says.
- Only similar, and told: numbers that cameras and video tools count with (IMG_0801, frame_0801),
    and numbers
  before words that say nothing (0801_holiday).
- Neither: numbers of more digits, such as Flickr2K's 000801 and LSDIR's 0000801.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

_PART = r"(?:valid(?:ation)?|val|test)(?![a-z])"
# DIV2K_valid_HR, DIV2K_LSDIR_test, DIV2Kvalid, val_DIV2K; and DIV2K/valid.
_FORBIDDEN_FOLDER = re.compile(
    rf"(?i)DIV2K(?:_?LSDIR)?[_\-. /]?{_PART}|{_PART}[_\-. ]?DIV2K(?![a-z0-9])"
)
_TEST_FOLDER = re.compile(r"(^|[_\-. ])test($|[_\-. ])", re.IGNORECASE)
_NUMBER = r"0(?:80[1-9]|8[1-9]\d|9\d\d)|1000"
# The first number of four digits is the image's: 0001_0801 is a part of 0001.
_LONE_NUMBER = re.compile(rf"^(?:(?!(?<!\d)\d{{4}}(?!\d)).)*(?<!\d)(?P<number>{_NUMBER})(?!\d)")
# With DIV2K before it the number may have lost its zero or gained some.
_NAMED_NUMBER = re.compile(
    r"(?i)(?!.*(?:lsdir|flickr))div2k(?:[a-z_\-. ]|x[2348])*"
    r"(?<!\d)0*(?P<number>80[1-9]|8[1-9]\d|9\d\d|1000)(?!\d)"
)
_SET_WORD = r"div2k|df2k|ntire\d*|train(?:ing)?|valid(?:ation)?|val|test|dataset|data"
_IMAGE_WORD = r"hr|lr|gt|hq|lq|lrbi|bic(?:ubic)?|bi|high|low|original|image"
_DERIVED_WORD = (
    r"[a-wyz](?=\d)|crop(?:ped)?|patch|sub|tile|part|piece|block|slice|seg|section"
    r"|aug(?:mented)?|[hvlrud]?flip(?:ped)?"
    r"|flip(?:lr|ud|h|v)|mirror(?:ed)?|rot(?:ated?)?|turn(?:ed)?"
    r"|transposed?|scaled?|resized?|down|up|mod"
    r"|hue|bright(?:ness)?|contrast|colou?r|gamma|sat(?:uration)?|mix(?:up)?"
    r"|cut(?:mix|out|blur)?|warp(?:ed)?|affine"
    r"|shift(?:ed)?|zoom(?:ed)?|elastic|sharp(?:ened)?|invert(?:ed)?|swap(?:ped)?|perm(?:uted)?"
    r"|rgb|bgr|ycbcr|half|quarter"
    r"|row|col(?:umn)?|cent(?:er|re)|left|right|top|bottom|[xy](?=\d{2})|\d+x\d+|sr"
    r"|gr[ae]y|noise|noisy|jpe?g|blur(?:red)?|copy|[hvlr]|ud|x[2348](?!\d)|deg"
)
# Possessive: what can be read in several ways is read in one, so no name takes long.
_HARMLESS = re.compile(rf"(?i)(?:[_\-. ()+]|{_SET_WORD}|{_IMAGE_WORD}|{_DERIVED_WORD}|\d)*+")
_COUNTED_BY = re.compile(
    r"(?i)(?<![a-z])(?:img|dsc[fn]?|imgp|pict?|picture|photo|foto|bild|pxl|mvi|gopr|dji"
    r"|cam(?:era)?|frame|video|vid"
    r"|clip|scan|page|screen(?:shot)?|shot|untitled)s?(?![a-z])"
)


def why_forbidden(file: Path, root: Path) -> str | None:
    """Say why a file must not train under NTIRE's rules, or None.

    Args:
        file: an HR image.
        root: the folder that the user named; a folder above it may be called test, its name and
            those below not.
    """
    for one in _names_of(file):
        number = find_div2k_number(one)
        if number is not None:
            part = "validation" if number <= 900 else "test"
            return (
                f"DIV2K {number:04d} is a {part} image by its name (rename it if it is not DIV2K's)"
            )
        if any(map(_FORBIDDEN_FOLDER.match, _folders_and_pairs(one.parent))):
            return "an image of the challenge's validation or test set"

    # Of a test set, by the folders that the user named or that lie below.
    folders = file.parent.parts
    below = folders[max(0, len(root.parts) - 1) :]
    if any(_TEST_FOLDER.search(folder) for folder in below):
        return "an image of a test set by its folder's name"
    if any(folder.upper() == "HR" for folder in folders) and folders[-1].lower() == "val":
        return "an image of LSDIR's validation set, part of DIV2K_LSDIR_valid"
    return None


def find_div2k_number(file: Path) -> int | None:
    """Find the number of a validation or test image of DIV2K in a name, where that is certain."""
    named = _NAMED_NUMBER.search(file.stem)
    if named:
        return int(named["number"])

    # Not named with DIV2K: the number may stand alone, as a folder or in the name.
    in_div2k = any("div2k" in folder.lower() for folder in file.parts[-4:-1])
    for folder in file.parts[-3:-1]:  # of one image's parts
        if re.fullmatch(_NUMBER, folder) and (in_div2k or _HARMLESS.fullmatch(file.stem)):
            return int(folder)

    # What stands around the number decides whether it is DIV2K's.
    found = _LONE_NUMBER.match(file.stem)
    if found is None:
        return None
    before, after = file.stem[: found.start("number")], file.stem[found.end("number") :]
    certain = in_div2k or (not _COUNTED_BY.search(before) and _HARMLESS.fullmatch(after))
    return int(found["number"]) if certain else None


def resembles_div2k(file: Path) -> bool:
    """Return whether a name holds a number of a val or test image of DIV2K, maybe by chance."""
    return _LONE_NUMBER.match(file.stem) is not None and find_div2k_number(file) is None


def _folders_and_pairs(folder: Path) -> list[str]:
    """List the folders above a file, alone and behind the one above: valid, DIV2K/valid."""
    names = folder.parts
    return [*names, *(f"{above}/{name}" for above, name in itertools.pairwise(names))]


def _names_of(file: Path) -> list[Path]:
    """Return the file as it was named, and what it is a link to."""
    return [file, file.resolve()] if file.is_symlink() or file.parent.is_symlink() else [file]
