"""Load released checkpoints: the public name of `search_spaces.checkpoints.official`."""

from search_spaces.checkpoints.official import load_official

__all__ = ["load_official"]
