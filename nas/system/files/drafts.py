"""Files and folders that are written whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.system.faults import ClosedOutputError
from nas.system.files.made_folders import make_folders, remove_folders


class UnwritableError(OSError):
    """A file cannot be written, whatever it would hold: the disk is full, its folder is closed."""


@contextmanager
def replaced(path: Path, draft: Path | None = None) -> Iterator[Path]:
    """Yield the draft of a file, which takes the file's place where nothing was raised.

    What lies under the draft's name is removed first: a kill may have left it, and through a link,
    as a stranger's folder may hold it, another file would be written. A device, a pipe and
    /dev/stdout are written into: they are never replaced.

    Args:
        draft: in the same folder, which is made where it is missing; None: a hidden file of this
            process.
    Raises:
        UnwritableError: it cannot be written; neither the file nor its draft has changed.
        ClosedOutputError: it is a pipe, and whoever read it has gone.
    """
    if _is_stream(path):
        with _named(path, path):
            yield path
        return

    draft = draft or path.with_name(f".{path.name}.{os.getpid()}")
    with _named(path, draft):
        made_folders = make_folders(path.parent)
        try:
            draft.unlink(missing_ok=True)
            yield draft
            os.replace(draft, path)
        except BaseException:  # such as a full disk
            with contextlib.suppress(OSError):  # its folder may be closed by now
                draft.unlink(missing_ok=True)
            remove_folders(made_folders)
            raise


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield the draft of a folder, which takes its place where nothing was raised.

    Args:
        path: is not there yet, or an empty folder.
    Raises:
        UnwritableError: it cannot be written; nothing of it is there.
    """
    # Hidden, and beside it: a kill leaves no half under the name that was asked for.
    prefix = path.with_name(f".{path.name}.")
    with _named(path, prefix):
        made_folders = make_folders(path.parent)
        draft = None
        try:
            draft = Path(tempfile.mkdtemp(prefix=prefix.name, dir=path.parent))
            draft.chmod(0o755)  # mkdtemp's is for its owner alone
            yield draft
            draft.replace(path)
        except BaseException:
            if draft:
                shutil.rmtree(draft, ignore_errors=True)
            remove_folders(made_folders)
            raise


def check_target(key: str, path: str, kind: str) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Args:
        key: what the path was given as, for the message.
        kind: what the file is, such as "CSV file".
    Raises:
        ValueError: the path is a folder, or its folder is not there.
    """
    target = Path(path)
    if target.is_dir() or not target.parent.is_dir():
        reason = "is a folder" if target.is_dir() else f"there is no folder {target.parent}"
        raise ValueError(f"{key}={path}: {reason}; name a {kind} in a folder that is there")


def _is_stream(path: Path) -> bool:
    """Return whether a path is a device or a pipe, or names a stream of a process."""
    # /dev/stdout is a link: where the output goes into a file, that file is found behind it.
    if path.parent.resolve().is_relative_to("/proc") or str(path.parent) in ("/dev", "/dev/fd"):
        return True
    return path.exists() and not path.is_symlink() and not (path.is_file() or path.is_dir())


@contextmanager
def _named(path: Path, draft: Path) -> Iterator[None]:
    """Name a file where its draft cannot be written: nobody asked for the draft.

    Args:
        draft: or what the name of the draft begins with.
    """
    try:
        yield
    except BrokenPipeError as error:  # of a pipe that was written into, as /dev/stdout may be
        raise ClosedOutputError(error.errno, error.strerror) from error
    except OSError as error:
        # An error of another file is that file's.
        file = str(error.filename)
        is_ours = (
            error.filename is None
            or file.startswith(str(draft))
            or Path(file) in (path, *path.parents)
        )
        if isinstance(error, UnwritableError) or error.errno is None or not is_ours:
            raise
        raise UnwritableError(error.errno, error.strerror, str(path)) from error
