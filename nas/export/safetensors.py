"""The format safetensors: weights by name, architecture and base in the metadata."""

from pathlib import Path

from safetensors.torch import save

from nas.export.bundle import Bundle


class SafetensorsExporter:
    """Writes <arch_id>.safetensors, which `nas evaluate weights=` takes."""

    takes_residuals = True

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write the one file; return its name."""
        name = f"{bundle.name}.safetensors"
        metadata = {"arch": bundle.spec.to_json()}
        if bundle.base is not None:
            metadata["base"] = bundle.base

        state = {
            key: value.detach().cpu().contiguous() for key, value in bundle.net.state_dict().items()
        }
        # What safetensors itself writes fails with an error of its own, which names no file.
        (folder / name).write_bytes(save(state, metadata=metadata))
        return [name]
