"""Weights of a trained parent for the start of a child."""

from nas.train.inherit.child import inherit
from nas.train.inherit.teacher import Teacher

__all__ = ["Teacher", "inherit"]
