"""The format ncnn: a graph and its weights, as realesrgan-ncnn-vulkan and its heirs take them."""

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nas.export.bundle import Bundle
from nas.export.ncnn.convert import convert
from nas.export.operators import USUAL, check_operators, take_convolution

PACKAGES = ("pnnx", "ncnn")
# Each of them was compared with PyTorch; pnnx leaves others out, or fixes sizes in them.
KNOWN = USUAL | {"aten.convolution": take_convolution}


class NcnnExporter:
    """Writes <arch_id>_x<scale>.param and .bin; the blobs are named `data` and `output`.

    Images are (3, H, W) RGB in [0, 1]. Upscayl reads the factor off the name. What a search trained
    has its base in the graph, and `_draft` in the name.
    """

    takes_residuals = True
    tolerance = 1e-3
    clamps = False

    def check(self, bundle: Bundle) -> None:
        """Check that the converter is there and that ncnn has all operators.

        Raises:
            ValueError: it is not, or ncnn lacks one.
        """
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise ValueError(
                f"it needs {' and '.join(missing)}, not installed here; pip install 'esr-nas[ncnn]'"
            )
        check_operators(bundle.net, KNOWN)

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write both files; return their names."""
        variant = f"_x{bundle.spec.scale}"
        names = [bundle.name_file(suffix, variant=variant) for suffix in (".param", ".bin")]

        # The converter leaves files beside: it works where nothing else lies.
        with tempfile.TemporaryDirectory() as work:
            for made, name in zip(convert(bundle.upscaler(), Path(work)), names, strict=True):
                shutil.copyfile(made, folder / name)
        return names

    def reader(self, folder: Path, names: Sequence[str]) -> list[str]:
        """Return the command that reads the files again in a process of its own."""
        files = [str(folder / name) for name in names]
        return [sys.executable, "-m", "nas.export.ncnn.read", *files]
