"""Weights on disk onto an upscaler: a released checkpoint, our own, or a proxy's residual over its base."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nas.system.drafts import replaced
from nas.train.proxy import BASE, OverBase, residual_spec
from search_spaces.checkpoints.files import split_entry
from search_spaces.checkpoints.official import load_checkpoint, load_strict, read_state, recognise
from search_spaces.network import Network, build
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a file says of itself; `base` is what it is a residual over, None for a whole network."""

    base: str | None
    spec: ArchSpec | None


def read_metadata(path: Path) -> Weights:
    """The metadata of a safetensors file; nothing is known of another file, or of one that cannot be read.

    Raises:
        ValueError: its base is not known here, or its architecture is none.
    """
    path, _ = split_entry(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return Weights(base=None, spec=None)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError:
        return Weights(base=None, spec=None)
    base = metadata.get("base")
    if base not in (None, BASE):
        raise ValueError(
            f"weights: {path} is a residual over base={base}, which is not known; known: {BASE}"
        )
    try:
        spec = ArchSpec.from_json(metadata["arch"]) if "arch" in metadata else None
    except (ValueError, TypeError) as error:
        raise ValueError(f"weights: {path}: its metadata: {error}") from None
    return Weights(base=base, spec=spec)


def load_upscaler(spec: ArchSpec, path: Path) -> nn.Module:
    """A network with the weights of a file, its base added where they are a residual; in evaluation mode.

    Args:
        spec: what the weights are for; for a published network or a relative also under released names.
        path: .safetensors, or what torch.load(weights_only=True) reads; FILE:ENTRY for an entry of it.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read without running code, it is of another architecture, or a name or shape
            does not fit.
    """
    return read_upscaler(spec, path)[0]


def read_upscaler(spec: ArchSpec, path: Path) -> tuple[nn.Module, str]:
    """As `load_upscaler`, and which entry of the file was read.

    Raises:
        FileNotFoundError: as `load_upscaler`.
        ValueError: as `load_upscaler`.
    """
    known = read_metadata(path)
    if known.spec is not None and known.spec.arch_id != spec.arch_id:
        raise ValueError(
            f"weights: {path} belongs to the architecture {known.spec.arch_id}, arch is {spec.arch_id}; "
            "give the arch that it was made for"
        )
    if known.base is not None:
        return OverBase(residual_network(spec, read_state(path), str(path))).eval(), str(path)
    net = build(spec)
    source = load_checkpoint(net, path)
    return net.eval(), source


def find_spec(path: Path) -> ArchSpec:
    """The architecture that a file says it is of, else the one that its names and shapes tell.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or is of no network that is known.
    """
    spec = read_metadata(path).spec
    return recognise(path) if spec is None else spec


def residual_network(spec: ArchSpec, state: dict[str, Tensor], source: str) -> Network:
    """The network that the proxy trains for a spec, with its weights, without the base."""
    net = build(residual_spec(spec))
    load_strict(net, state, source)
    return net


def weights_path(run: Path, spec: ArchSpec) -> Path:
    return run / "weights" / f"{spec.arch_id}.safetensors"


def save_weights(net: Network, spec: ArchSpec, run: Path) -> None:
    """Write proxy weights whole or not at all; the metadata says over which base they are residuals."""
    path = weights_path(run, spec)
    state = {name: value.contiguous().cpu() for name, value in net.state_dict().items()}
    with replaced(path, path.with_suffix(".partial")) as draft:
        save_file(state, draft, metadata={"base": BASE, "arch": spec.to_json()})
