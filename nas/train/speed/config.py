"""How fast a step is computed, and by what: the choice that a training keeps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Result = TypeVar("Result")
Precision = Literal["float32", "bfloat16", "float16"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How the steps of a stage are computed.

    Attributes:
        precision: of the networks; losses and weights are always in float32.
        compiled: networks are, by torch.compile; losses run as they are written.
        graphs: compiled networks are replayed as CUDA graphs, which saves the launches of kernels:
            the larger part of a small network's time.
    """

    precision: Precision = "float32"
    compiled: bool = False
    graphs: bool = False

    def __post_init__(self) -> None:
        if self.precision not in DTYPES:
            raise ValueError(f"precision={self.precision!r} is not known; known: {list(DTYPES)}")
        if self.graphs and not self.compiled:
            raise ValueError("graphs=True needs compiled=True: PyTorch's compiler records them")

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]

    @property
    def is_half(self) -> bool:
        return self.precision != "float32"

    @property
    def needs_scaler(self) -> bool:
        """Whether gradients are scaled, for they would be too small for this precision."""
        return self.precision == "float16"

    def compile(self, function: Callable[Given, Result]) -> Callable[Given, Result]:
        """Return a function as it is computed."""
        if not self.compiled:
            return function
        # One network at a time is trained: what was compiled for those before it goes.
        torch.compiler.reset()
        return torch.compile(function, mode="reduce-overhead" if self.graphs else None)

    def begin_step(self) -> None:
        """Let graphs write where the outputs of the step before lie, which nobody reads any more."""
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def __str__(self) -> str:
        compiled = ", compiled" if self.compiled else ""
        return f"in {self.precision}{compiled}{', by CUDA graphs' if self.graphs else ''}"


PLAIN = Speed()
