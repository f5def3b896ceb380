"""Exported files are read in a fresh process, and have to give what PyTorch gives."""

import math
import os
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.export.trial import PHOTOGRAPH, Image, Trial
from nas.system.faults import MachineError

MIN_DB = 40.0  # of any output against PyTorch's, full scale being the peak
PSNR_SLACK_DB = 0.001  # of a photograph
# A format that rounds more than this is held to its own tolerance and MIN_DB alone: one of 255
# levels moves a PSNR by more than the slack.
EXACT = 1e-3
# So many times PyTorch's own error to float64 pass, whatever the tolerance: what another order of
# the same sums comes to; a wrong operator is off by far more.
ROUNDING = 10.0
TIMEOUT_S = 1800
LATENCY = "latency_ms"  # what a reader may put beside its images: a number, as information
ROOT = Path(__file__).parents[2]  # where the package of the fresh process lies


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a format's output may be from PyTorch's.

    Attributes:
        largest_error: in full scale; 0: equal to the last bit.
        clamped: whether the file ends its output in [0, 1], which PyTorch does not.
    """

    largest_error: float
    clamped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the check of a format came to, which it passed.

    Attributes:
        sizes: heights and widths of the images that were tried.
        largest_error: over all images, in full scale: 1, or the image's largest value where that
            is greater.
        lowest_db: of all images, full scale being the peak; infinite where all are equal.
        psnr_db, torch_psnr_db: of the photograph, by the file and by PyTorch.
        latency_ms: of the photograph's LR image, where the reader gives it.
        tolerance: the largest error that passes.
    """

    sizes: tuple[str, ...]
    largest_error: float
    lowest_db: float
    psnr_db: float
    torch_psnr_db: float
    latency_ms: float | None
    tolerance: float


class CheckError(MachineError):
    """A file that was written does not give what PyTorch gives: it is removed again."""


def verify(trial: Trial, name: str, command: Sequence[str], tolerance: Tolerance) -> Outcome:
    """Read a format's files in a fresh process and compare its outputs with PyTorch's.

    Args:
        name: of the format, for messages.
        command: of the reader; the paths of an .npz of inputs and of one for outputs are appended.
    Raises:
        CheckError: the reader fails or dies, an output is missing, of another size, or differs.
    """
    outputs = _run_reader(name, command, trial.inputs)
    latency = outputs.pop(LATENCY, None)
    if outputs.keys() != trial.inputs.keys():
        raise _fail(name, f"the reader gave {len(outputs)} outputs for {len(trial.inputs)} images")

    errors, decibels = [], []
    for image in trial.inputs:
        error, db = _check_image(trial, name, image, outputs[image], tolerance)
        errors.append(error)
        decibels.append(db)
    psnr_db, torch_psnr_db = _check_photograph(trial, name, outputs[PHOTOGRAPH], tolerance)

    return Outcome(
        sizes=tuple(dict.fromkeys(_format_size(image) for image in trial.inputs.values())),
        largest_error=max(errors),
        lowest_db=min(decibels),
        psnr_db=psnr_db,
        torch_psnr_db=torch_psnr_db,
        latency_ms=None if latency is None else float(latency),
        tolerance=tolerance.largest_error,
    )


def _check_image(
    trial: Trial, name: str, image: str, output: Image, tolerance: Tolerance
) -> tuple[float, float]:
    """Return the largest error of an output in full scale, and its dB to PyTorch's.

    Raises:
        CheckError: it is of another size, not finite, or too far off.
    """
    error, db = _compare(name, image, output, trial.expected[image], tolerance)
    is_near = error <= tolerance.largest_error or _rounds_alike(trial, image, output, tolerance)
    if not is_near:
        raise _fail(
            name,
            f"on the image {image!r} the output differs from PyTorch's by {error:.3g} of full "
            f"scale; at most {tolerance.largest_error:g} passes",
        )
    if db < MIN_DB:
        raise _fail(
            name,
            f"on the image {image!r} the output is {db:.1f} dB from PyTorch's; {MIN_DB:g} dB pass",
        )
    return error, db


def _check_photograph(
    trial: Trial, name: str, output: Image, tolerance: Tolerance
) -> tuple[float, float]:
    """Return the PSNR of the photograph, by the file and by PyTorch.

    Small errors that all point one way can move it.

    Raises:
        CheckError: they differ, in a format of small errors.
    """
    psnr_db, torch_psnr_db = (trial.psnr(image) for image in (output, trial.expected[PHOTOGRAPH]))
    moved = abs(psnr_db - torch_psnr_db)
    if tolerance.largest_error <= EXACT and moved > PSNR_SLACK_DB:
        raise _fail(
            name,
            f"the PSNR of the photograph is {psnr_db:.4f} dB, by PyTorch {torch_psnr_db:.4f}; "
            f"they may differ by {PSNR_SLACK_DB:g}",
        )
    return psnr_db, torch_psnr_db


def _compare(
    name: str, image: str, output: Image, expected: Image, tolerance: Tolerance
) -> tuple[float, float]:
    """Return the largest error of an output in full scale, and its dB to PyTorch's.

    Raises:
        CheckError: it is of another size or type, or not finite.
    """
    where = f"on the image {image!r}"
    if output.shape != expected.shape or output.dtype != np.float32:
        raise _fail(
            name,
            f"{where} the output is {output.dtype} {output.shape}, not float32 {expected.shape}",
        )
    if not np.isfinite(output).all():
        raise _fail(name, f"{where} the output is not finite")

    # In float64: the difference of two close float32 numbers is exact there, and so is its square.
    target = expected.clip(0, 1) if tolerance.clamped else expected
    difference = output.astype(np.float64) - target
    # Hostile images drive outputs far beyond white: then the largest value is full scale.
    peak = max(1.0, float(np.abs(target).max()))
    error = float(np.abs(difference).max()) / peak
    mean_square = float(np.square(difference / peak).mean())
    db = math.inf if mean_square == 0 else -10 * math.log10(mean_square)

    return error, db


def _rounds_alike(trial: Trial, image: str, output: Image, tolerance: Tolerance) -> bool:
    """Return whether an output misses float64 by rounding alone, as PyTorch's does in float32.

    Hostile images drive some networks to where PyTorch itself rounds by more than the tolerance.
    """
    if tolerance.largest_error == 0:  # equal to the last bit is equal
        return False
    exact = trial.compute_exactly(image)
    own_error = float(np.abs(trial.expected[image] - exact).max())
    target = exact.clip(0, 1) if tolerance.clamped else exact
    return float(np.abs(output - target).max()) <= ROUNDING * own_error


def _run_reader(name: str, command: Sequence[str], inputs: Mapping[str, Image]) -> dict[str, Image]:
    """Return what a reader makes of images, by their names.

    Raises:
        CheckError: it fails, dies, does not end, or writes nothing that can be read.
    """
    with tempfile.TemporaryDirectory(prefix="nas-export-") as folder:
        given, made = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        arrays: dict[str, Any] = dict(inputs)
        np.savez(given, **arrays)
        try:
            done = subprocess.run(
                [*command, str(given), str(made)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=TIMEOUT_S,
                cwd=folder,
                env=_make_environment(),
            )
        except subprocess.TimeoutExpired:
            raise _fail(name, f"the reader did not end within {TIMEOUT_S} s") from None
        if done.returncode:
            raise _fail(name, f"the reader {_describe_end(done)}")
        try:
            with np.load(made, allow_pickle=False) as archive:
                return {image: archive[image] for image in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            raise _fail(name, "the reader wrote no outputs") from None


def _make_environment() -> dict[str, str]:
    """Return the environment of a reader: our package is found, and nothing beside the user."""
    # A file of the user's folder, such as random.py, must not stand before Python's own.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def _describe_end(done: subprocess.CompletedProcess[str]) -> str:
    """Say how a process ended that failed: its last line, or the signal that killed it."""
    if done.returncode < 0:
        return f"was killed by {signal.Signals(-done.returncode).name}"
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return f"failed: {lines[-1]}" if lines else f"failed with exit status {done.returncode}"


def _format_size(image: Image) -> str:
    return f"{image.shape[2]}x{image.shape[3]}"


def _fail(name: str, reason: str) -> CheckError:
    return CheckError(f"formats: the check of {name} failed, {reason}", "nothing was written")
