"""Weights of a trained parent for the start of a child."""

from nas.train.inherit.child import inherit
from nas.train.inherit.teacher import Teacher
from nas.train.inherit.training_form import training_form

__all__ = ["Teacher", "inherit", "training_form"]
