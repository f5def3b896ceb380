"""A stand-in for torchvision where it cannot be imported, for spandrel, which asks for it."""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def import_spandrel() -> Any:
    """Import spandrel, whether or not torchvision fits the torch that is installed.

    Raises:
        ImportError: it is not installed.
    """
    with without_torchvision():
        return importlib.import_module("spandrel")


@contextmanager
def without_torchvision() -> Iterator[None]:
    """Let spandrel be imported where torchvision is not there or does not fit torch.

    Two of its architectures import three names of it, no upscaler among them. They stand for it
    while spandrel is imported, and are gone afterwards.
    """
    try:
        importlib.import_module("torchvision.transforms.functional")
    except (ImportError, RuntimeError, OSError):  # not there, or built for another torch
        pass
    else:
        yield
        return

    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    modules = {name: types.ModuleType(name) for name in names}
    for name in ("InterpolationMode", "rotate", "normalize"):
        setattr(modules[names[-1]], name, None)
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)
