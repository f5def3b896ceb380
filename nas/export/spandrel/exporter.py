"""The format spandrel: a SPAN in its training form, as chaiNNer and what else loads by spandrel."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save

from nas.export.bundle import Bundle
from nas.export.spandrel.lift import check_span, lift


class SpandrelExporter:
    """Writes <arch_id>_spandrel.safetensors, the training branches of a SPAN."""

    takes_residuals = False
    tolerance = 1e-4
    clamps = True

    def check(self, bundle: Bundle) -> None:
        """Check that the network is a SPAN as spandrel knows it, and that spandrel is there.

        Raises:
            ValueError: it is none, or spandrel is not installed.
        """
        check_span(bundle.spec)
        if importlib.util.find_spec("spandrel") is None:
            raise ValueError(
                "it needs spandrel, not installed here; pip install 'esr-nas[spandrel]'"
            )

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write the one file; return its name."""
        name = bundle.name_file(".safetensors", variant="_spandrel")
        # What safetensors itself writes fails with an error of its own, which names no file.
        (folder / name).write_bytes(save(lift(bundle.net), metadata={"format": "pt"}))
        return [name]

    def reader(self, folder: Path, names: Sequence[str]) -> list[str]:
        """Return the command that lets spandrel recognise the file in a process of its own."""
        return [sys.executable, "-m", "nas.export.spandrel.read", str(folder / names[0])]
