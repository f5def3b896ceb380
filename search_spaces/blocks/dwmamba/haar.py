"""The Haar wavelet transform and its inverse: one coarse map of an image, three of its edges."""

from torch import Tensor


def haar(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return LL, HL, LH and HH, each (N, C, H/2, W/2), of a map (N, C, H, W) with even H and W.

    HL is what differs from left to right, LH from top to bottom, HH across.
    """
    # Halves keep the transform orthonormal: features keep their size.
    half = x / 2
    top_left, bottom_left = half[:, :, 0::2, 0::2], half[:, :, 1::2, 0::2]
    top_right, bottom_right = half[:, :, 0::2, 1::2], half[:, :, 1::2, 1::2]

    # Sums and differences of columns are shared by the four maps.
    left, right = top_left + bottom_left, top_right + bottom_right
    left_edge, right_edge = bottom_left - top_left, bottom_right - top_right
    return left + right, right - left, left_edge + right_edge, right_edge - left_edge


def inverse_haar(low: Tensor, horizontal: Tensor, vertical: Tensor, diagonal: Tensor) -> Tensor:
    """Return the map (N, C, H, W) whose `haar` is LL, HL, LH and HH, each (N, C, H/2, W/2)."""
    batch, channels, height, width = low.shape
    low, horizontal, vertical, diagonal = (
        part / 2 for part in (low, horizontal, vertical, diagonal)
    )

    # Each pixel of a 2x2 square has its own signs.
    x = low.new_empty(batch, channels, 2 * height, 2 * width)
    x[:, :, 0::2, 0::2] = low - horizontal - vertical + diagonal
    x[:, :, 1::2, 0::2] = low - horizontal + vertical - diagonal
    x[:, :, 0::2, 1::2] = low + horizontal - vertical - diagonal
    x[:, :, 1::2, 1::2] = low + horizontal + vertical + diagonal
    return x
