"""A normalisation between other blocks."""

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.conv import ConvFactory


class LayerNorm(nn.LayerNorm):
    """Brings each pixel of (N, C, H, W) to zero mean and unit variance over its channels.

    Then each channel is scaled and shifted.

    Args:
        eps: added to the variance; 1e-5 is PyTorch's.
    """

    def __init__(self, in_channels: int, *, eps: float, make_conv: ConvFactory) -> None:
        if not eps > 0:
            raise ValueError(f"layer_norm.eps must be above 0, got {eps}; 1e-5 is usual")
        super().__init__(in_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)
        # Channels last, as `layer_norm` normalises the last dimension.
        return F.layer_norm(
            pixels, self.normalized_shape, self.weight, self.bias, self.eps
        ).permute(0, 3, 1, 2)
