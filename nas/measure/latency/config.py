"""How latency is read: what conf/latency/*.yaml builds."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from nas.measure.latency.modes import check_mode
from nas.measure.latency.onnx_session import check_installed
from nas.measure.latency.protocol import Limits
from nas.measure.latency.sizes import CHALLENGE_SIZES, CPU_SIZES, Size, folder_sizes, weighted


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyConfig:
    """How latency is read: conf/latency/*.yaml holds the values.

    Attributes:
        mode: one of `MODES`, or auto: challenge on CUDA and cpu elsewhere.
        backend: what runs the networks.
        sizes: height and width of the LR images, or a folder of these; None: 64x64 on the CPU, the
            challenge's list on CUDA.
        threads: of the CPU.
        tf32: on CUDA, convolutions in TF32, of baseline and candidate alike.
        warmup_seconds: how long all networks run before the first round.
        min_rounds: undisturbed rounds of a candidate before its interval is looked at.
        max_rounds: rounds that end a candidate's reading.
        max_seconds: timed seconds that end a candidate's reading.
        target_ci: half-width of the 95 % interval, relative to the ratio, that ends a reading.

    Raises:
        ValueError: a value is out of its range, or ONNX Runtime is asked for and not installed.
    """

    mode: str
    backend: Literal["torch", "onnxruntime"]
    sizes: list[tuple[int, int]] | str | None
    threads: int
    tf32: bool
    warmup_seconds: float
    min_rounds: int
    max_rounds: int
    max_seconds: float
    target_ci: float

    def __post_init__(self) -> None:
        # Checked when the configuration is built, long before a device is asked.
        check_mode(self.mode)
        if self.backend == "onnxruntime":
            check_installed()
        self._check_sizes()

        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")

        # Two rounds have no interval worth the name.
        if not 3 <= self.min_rounds <= self.max_rounds:
            raise ValueError(
                f"min_rounds must be at least 3 and at most max_rounds, "
                f"got {self.min_rounds} and {self.max_rounds}"
            )

        # Zero is allowed: a reading then takes the fewest rounds that it can.
        for name in ("warmup_seconds", "max_seconds", "target_ci"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")

    def _check_sizes(self) -> None:
        """Check the sizes that are given; a folder is read when the device is known."""
        if self.sizes is not None and not self.sizes:
            raise ValueError(
                "sizes must name at least one size; use [[64,64]], or null for the usual ones"
            )
        for size in self.sizes if isinstance(self.sizes, list) else ():
            if min(size) < 1:
                raise ValueError(f"sizes must be at least 1x1, got {size[0]}x{size[1]}")

    def limits(self) -> Limits:
        """Return how long a reading may take."""
        return Limits(
            warmup_seconds=self.warmup_seconds,
            min_rounds=self.min_rounds,
            max_rounds=self.max_rounds,
            max_seconds=self.max_seconds,
            target_ci=self.target_ci,
        )

    def sizes_on(self, device: torch.device) -> tuple[Size, ...]:
        """Return the sizes on a device, with their weights.

        Raises:
            ValueError: the folder is not there or holds no images.
        """
        # A folder is read now and not before: it may be large, and not needed.
        if isinstance(self.sizes, str):
            return folder_sizes(Path(self.sizes).expanduser())
        if self.sizes is not None:
            return weighted(tuple((height, width, 1.0) for height, width in self.sizes))
        return weighted(CHALLENGE_SIZES if device.type == "cuda" else CPU_SIZES)
