"""The loss of an image's spectrum."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nas.losses.base import Weight, check_shapes, check_weight, widen


@dataclass(frozen=True, slots=True, kw_only=True)
class FFT:
    """The mean absolute difference of two spectra: of their real and imaginary parts, or moduli.

    The spectrum is rfft2 over height and width, of each colour alone. It is computed in
    float32 at least: half floats lose its large values.

    Attributes:
        norm: ortho divides the spectrum by sqrt(height * width), so that a weight means the same
            for patches of any size; backward does not, as in SAFMN's training.
        parts: complex compares real and imaginary parts; modulus compares |F(output - target)|.

    Source: Cho et al., Rethinking Coarse-to-Fine Approach in Single Image Deblurring, ICCV 2021.
    """

    weight: Weight
    norm: Literal["ortho", "backward"]
    parts: Literal["complex", "modulus"]

    def __post_init__(self) -> None:
        check_weight("FFT", self.weight)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        check_shapes(output, target)
        # The transform is linear: the difference of spectra is the spectrum of the difference.
        difference = widen(output) - widen(target)
        with torch.autocast(difference.device.type, enabled=False):
            spectrum = torch.fft.rfft2(difference, norm=self.norm)
        parts = spectrum if self.parts == "modulus" else torch.view_as_real(spectrum)
        mean: Tensor = parts.abs().mean()
        return mean
