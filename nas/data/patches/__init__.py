"""Training patches, cut from images that were decoded once."""

from nas.data.patches.shared import SharedImages
from nas.data.patches.store import PatchStore

__all__ = ["PatchStore", "SharedImages"]
