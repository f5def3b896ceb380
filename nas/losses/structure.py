"""The loss of structural similarity."""

from dataclasses import dataclass

from pytorch_msssim import ssim
from torch import Tensor

from nas.losses.base import Weight, check_shapes, check_weight, widen

WINDOW = 11  # side of the Gaussian window, in pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class SSIM:
    """One minus the mean structural similarity, by Gaussian windows of 11x11 pixels.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity,
        IEEE TIP 2004.
    """

    weight: Weight

    def __post_init__(self) -> None:
        check_weight("SSIM", self.weight)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        check_shapes(output, target)
        if min(output.shape[-2:]) < WINDOW:
            raise ValueError(
                f"SSIM needs images of at least {WINDOW}x{WINDOW} pixels, got "
                f"{tuple(output.shape[-2:])}; use larger patches"
            )
        similarity: Tensor = ssim(widen(output), widen(target), data_range=1.0, win_size=WINDOW)
        return 1 - similarity
