"""What a folder of images holds: its HR and LR images, told by the names of folders and files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nas.data.config import FROM_HR
from nas.data.folders.file_names import SCALES, match_files, read_stem
from nas.data.folders.folder_names import folders_below, images_below, own_images, shorten
from nas.data.folders.lr_folders import choose_lr_folder, list_some, says_lr
from nas.data.folders.mixed_files import MixedFolder, one_of_each_kind, split_mixed
from nas.data.folders.places import Place, Role, absolute, find_place, shards_of
from nas.data.folders.unnamed_lr import check_all_hr, tell_lr_beside
from nas.data.pixels.images import ImageError, read_header, read_image, read_size
from nas.data.pixels.orientation import find_turn, turn_in_words
from nas.data.sets import MAKE_LR, Pair, check_sizes
from nas.system.files.file_names import escape_name

KNOWN = (
    "DIV2K_train_HR/, Flickr2K_HR/, HR/ or GT/ with LR/, LRbicx4/ or X4/, LSDIR's 0001000/, or "
    "image files"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder was found to hold.

    Attributes:
        layout: the kind of data set, such as DIV2K.
        root: the folder that was named; `folder` that of the HR images.
        pairs: the images that can be used.
        problems: the files that cannot, each with the reason.
        notices: what a user should know about the others.
    """

    layout: str
    root: Path
    folder: Path
    pairs: tuple[Pair, ...]
    problems: tuple[tuple[Path, str], ...]
    notices: tuple[str, ...] = ()


def open_folder(
    root: Path,
    *,
    role: Role,
    scale: int,
    key: str = "",
    source: str = "",
    first: int | None = None,
    lr: str | None = None,
) -> Found:
    """Recognise the layout of a folder, and pair its HR images with LR images.

    Args:
        root: the data set's folder, or one of its HR folders.
        role: in a folder with several parts it decides which one is taken.
        key: what the folder was given as, for messages.
        source: whose weight the images share in a mixture.
        first: keep only that many images, in the order of their names.
        lr: the folder of LR images; "none": made from HR; None: looked for beside the HR images.
    Raises:
        ValueError: no such folder, nothing usable in it, or several data sets at once.
    """
    key = key or f"data.{role}"
    root = _check_is_folder(absolute(root), key)
    place = find_place(root, role, key)
    files, notices = _list_hr_files(place, key)
    if place.layout == "images" and says_lr(Path(root.name)):
        notices.append(f"{key}: {root} holds LR images by its name; they are taken as HR images")

    split = _split_files(place, files, scale, key, lr)
    files, lr_folder, lr_files = split.hr, split.lr_folder, split.lr
    notices += split.notices

    pairs, problems, told = _pair_files(
        files[:first], lr_files, place.folder, lr_folder, scale, source, whole=first is None
    )
    notices += [f"{key}: {line}" for line in told]

    # No LR image was found: some of the HR images may be LR ones that no name tells.
    if lr is None and lr_folder is None:
        notices += check_all_hr(pairs, scale, key)
        if not split.is_told:
            notices += tell_lr_beside(pairs, place.folder, scale, key)
    return Found(place.layout, root, place.folder, tuple(pairs), tuple(problems), tuple(notices))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """The files of a place, as they are used.

    Attributes:
        lr_folder: where the LR images lie; None: they are made from HR.
        is_told: whether a notice says why that folder was taken, or none.
    """

    hr: list[Path]
    lr: list[Path]
    lr_folder: Path | None
    notices: list[str]
    is_told: bool


def _split_files(place: Place, files: list[Path], scale: int, key: str, lr: str | None) -> _Split:
    """Find the LR images: in a folder of their own, or among the HR images, told by their names.

    Args:
        files: images of the place.
        lr: as of `open_folder`.
    """
    mixed = split_mixed(files, scale)
    lr_folder, notices = choose_lr_folder(place, scale, key, lr, is_mixed=mixed is not None)
    is_told = bool(notices)
    if mixed is not None and lr_folder in (None, place.folder):
        files, told = _describe_mixed(mixed, place, scale, key, uses_lr=lr != FROM_HR)
        lr_files = mixed.lr if lr != FROM_HR else []
        lr_folder = place.folder if lr_files else None
    else:
        lr_files, told = _list_lr_files(lr_folder, scale, key)
    return _Split(
        hr=files, lr=lr_files, lr_folder=lr_folder, notices=[*notices, *told], is_told=is_told
    )


def _check_is_folder(root: Path, key: str) -> Path:
    """Return the path of a folder; raise ValueError where it is none."""
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise ValueError(f"{key}: {what}: {shorten(root)}")
    return root


def _list_hr_files(place: Place, key: str) -> tuple[list[Path], list[str]]:
    """List the HR images of a place, or of the folders below it where it holds none itself.

    Raises:
        ValueError: there are none, or LR images lie among them.
    """
    # LSDIR lies in shards, and also in the folder around them.
    folder = place.folder
    files = own_images(folder)
    if files and (place.layout != "LSDIR" or place.inner != "."):
        return files, []
    below = [child for child in folders_below(folder) if own_images(child)]
    if place.layout == "LSDIR":
        below = [folder, *shards_of(folder)] if shards_of(folder) else below
        return sorted(file for child in dict.fromkeys(below) for file in own_images(child)), []

    # Other folders may hold anything: LR folders among them are not guessed about.
    low = [child for child in below if says_lr(child.relative_to(folder))]
    if low:
        raise ValueError(
            f"{key}: {shorten(folder)} holds several folders of images, LR ones too, such as "
            f"{low[0].relative_to(folder)}; name the folder of the HR images itself, or a list of "
            "them"
        )
    files = [file for child in below for file in own_images(child)]
    if not files:
        raise ValueError(f"{key}: no images in {shorten(folder)}; known layouts: {KNOWN}")
    names = list_some([str(child.relative_to(folder)) for child in below])
    return files, [
        f"{key}: {folder} holds no images itself; the {len(files)} of {names} below it are taken"
    ]


def _list_lr_files(folder: Path | None, scale: int, key: str) -> tuple[list[Path], list[str]]:
    """List the LR images of a folder, one for each HR image, and notices on the others."""
    files = images_below(folder) if folder is not None else []
    files, lines = one_of_each_kind(files, scale)
    return files, [f"{key}: {line}" for line in lines]


def _describe_mixed(
    mixed: MixedFolder, place: Place, scale: int, key: str, *, uses_lr: bool
) -> tuple[list[Path], list[str]]:
    """Return the HR files of a folder that holds LR files too, and notices on that."""
    # The first pair is named: whoever mixed them knows from it what was understood.
    high, low = mixed.example
    notices = [
        f"{key}: {place.folder} holds HR and LR images, such as {high.name} and {low.name}: "
        + (
            f"read as pairs ({len(mixed.hr)})"
            if uses_lr
            else f"the LR images are not used ({len(mixed.lr)})"
        )
    ]

    if mixed.others:
        notices.append(
            f"{key}: {len(mixed.others)} images of {place.folder} are neither HR nor LR by their "
            f"names, such as {mixed.others[0].name}: not used"
        )

    return mixed.hr, notices


def _pair_files(
    files: list[Path],
    lr_files: list[Path],
    hr_folder: Path,
    lr_folder: Path | None,
    scale: int,
    source: str,
    *,
    whole: bool,
) -> tuple[list[Pair], list[tuple[Path, str]], list[str]]:
    """Pair HR and LR files by name.

    Args:
        whole: the files are all of the folder, so that an LR file left over is a problem.
    Returns:
        The pairs; the files that cannot be used, with the reason; notices.
    """
    problems: list[tuple[Path, str]] = []
    notices: list[str] = []
    pairs: list[Pair] = []
    matches = match_files(
        files, lr_files, hr_root=hr_folder, lr_root=lr_folder or hr_folder, scale=scale
    )
    for file in files:
        lr = matches.lr_of.get(file)
        if lr_folder is not None and lr is None:
            # A training on pairs needs both; made from HR are all LR files or none.
            missing = f"no LR file {file.stem}x{scale} in {shorten(lr_folder)}; {MAKE_LR}"
            problems.append((file, matches.unclear.get(file, missing)))
            continue
        try:
            pairs.append(sized(Pair(escape_name(file.stem), file, lr, source), scale))
        except ImageError as error:
            problems.append((error.path, error.reason))

    # LR files without an HR file: of another scale, which is fine, or partners that got lost.
    if whole:
        other_scale = [file for file in matches.left_over if _is_of_other_scale(file, scale)]
        if other_scale:
            notices.append(
                f"LR images of other scales, such as {other_scale[0].name}, are not used "
                f"({len(other_scale)})"
            )
        problems += [
            (lr, f"an LR file without its HR file {read_stem(lr.stem, scale).core}")
            for lr in matches.left_over
            if lr not in other_scale
        ]
    return pairs, problems, notices


def _is_of_other_scale(file: Path, scale: int) -> bool:
    """Return whether a file is an LR image of another scale by its name."""
    return not read_stem(file.stem, scale).kind and any(
        read_stem(file.stem, other).kind in ("LR", "x") for other in SCALES if other != scale
    )


def sized(pair: Pair, scale: int) -> Pair:
    """Return the pair with its HR size, after a check that the two sizes belong together.

    Headers are enough, but for an HR file that EXIF turns: it is compared pixel by pixel.

    Raises:
        ImageError: a file cannot be used, or the sizes do not belong together.
    """
    # A pair of wrong sizes is found before a training stops at it.
    header = read_header(pair.hr)
    size = header.height, header.width
    if pair.lr is None:
        check_sizes(pair.hr, (size[0] // scale, size[1] // scale), size, scale)
        return replace(pair, size=size)
    if header.orientation != 1:
        turn = find_turn(read_image(pair.hr), read_image(pair.lr), scale)
        if turn is not None:
            raise ImageError(pair.hr, turn_in_words(turn, pair.lr))
    check_sizes(pair.lr, read_size(pair.lr), size, scale)
    return replace(pair, size=size)
