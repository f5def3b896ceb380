"""Images, bicubic and patches: what the networks are trained and judged on."""

from nas.data.pixels.bicubic import imresize

__all__ = ["imresize"]
