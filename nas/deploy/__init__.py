"""The fast runner of a network that is not trained any more: the public names."""

from nas.deploy.hostile import hostile_images
from nas.deploy.runner import Precision, Runner

__all__ = ["Precision", "Runner", "hostile_images"]
