"""What the formats' tests need of the machine."""

import numpy as np
import pytest

from nas.export.mpv.read import RenderError, render


@pytest.fixture(scope="session")
def renderer():
    """ffmpeg with libplacebo and a Vulkan device; tests that use it are skipped without."""
    try:
        render(None, np.zeros((1, 3, 4, 4), np.uint16), 2)
    except RenderError as error:
        pytest.skip(f"{error}: apt install ffmpeg mesa-vulkan-drivers")
