"""The format safetensors: weights by name, architecture and base in the metadata."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load, save

from nas.export.bundle import Bundle
from nas.export.verification import CheckError

FILE = "weights.safetensors"


class SafetensorsExporter:
    """Writes weights.safetensors, which `nas evaluate weights=` takes."""

    takes_residuals = True
    tolerance = 0.0
    clamps = False

    def check(self, bundle: Bundle) -> None:
        """Refuse nothing: tensors of any network have names."""

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write the one file, and read it back; return its name.

        Raises:
            CheckError: what lies in the file is not what was written.
        """
        metadata = {"arch": bundle.spec.to_json()}
        if bundle.base is not None:
            metadata["base"] = bundle.base

        state = {
            key: value.detach().cpu().contiguous() for key, value in bundle.net.state_dict().items()
        }
        # What safetensors itself writes fails with an error of its own, which names no file.
        path = folder / FILE
        path.write_bytes(save(state, metadata=metadata))

        read = load(path.read_bytes())
        if read.keys() != state.keys() or not all(
            torch.equal(read[key], state[key]) for key in read
        ):
            raise CheckError("formats: safetensors read back other weights", "nothing was written")
        return [FILE]

    def reader(self, folder: Path, names: Sequence[str]) -> list[str] | None:
        """Return None: tensors that were read back equal need no engine."""
        return None
