"""Weights on disk onto an upscaler: a released checkpoint, our own, or a proxy's residual."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nas.system.files.drafts import replaced
from nas.train.proxy import BASE, OverBase, residual_spec
from search_spaces.checkpoints.files import split_entry
from search_spaces.checkpoints.official import load_checkpoint, load_strict, read_state, recognise
from search_spaces.network import Network, build
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The metadata of a file of weights.

    Attributes:
        base: the base over which the weights are a residual; None for a whole network.
        spec: the architecture; None if the file does not name it.
    """

    base: str | None
    spec: ArchSpec | None


def read_metadata(path: Path) -> Weights:
    """Read the metadata of a safetensors file.

    Both fields are None for a file of another format, and for one that cannot be read.

    Raises:
        ValueError: the base is not one of ours, or the architecture is not valid.
    """
    path, _ = split_entry(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return Weights(base=None, spec=None)

    # A damaged file is not reported here: loading its weights says what is wrong.
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
    """Build an upscaler with the weights of a file, in evaluation mode.

    The base is added if the weights are a residual.

    Args:
        spec: the architecture of the weights; for a published network or a relative of it the file
            may use the released names.
        path: .safetensors, or what torch.load(weights_only=True) reads; FILE:ENTRY for an entry of
            it.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read without running code, belongs to another architecture, or a
            name or shape does not fit.
    """
    return read_upscaler(spec, path)[0]


def read_upscaler(spec: ArchSpec, path: Path) -> tuple[nn.Module, str]:
    """Build an upscaler as `load_upscaler` does; also return which entry of the file was read.

    Raises:
        FileNotFoundError: as `load_upscaler`.
        ValueError: as `load_upscaler`.
    """
    # Our own files say what they belong to; others are known by their names and shapes.
    metadata = read_metadata(path)
    if metadata.spec is not None and metadata.spec.arch_id != spec.arch_id:
        raise ValueError(
            f"weights: {path} belongs to the architecture {metadata.spec.arch_id}, arch is "
            f"{spec.arch_id}; give the arch that it was made for"
        )

    if metadata.base is not None:
        return OverBase(residual_network(spec, read_state(path), str(path))).eval(), str(path)
    # Weights without a base are those of a whole network.
    net = build(spec)
    source = load_checkpoint(net, path)
    return net.eval(), source


def find_spec(path: Path) -> ArchSpec:
    """Return the architecture that a file names, else the one that its names and shapes tell.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or no known network has such weights.
    """
    # A file that names no architecture is recognised by what it holds.
    spec = read_metadata(path).spec
    return recognise(path) if spec is None else spec


def residual_network(spec: ArchSpec, state: dict[str, Tensor], source: str) -> Network:
    """Build the residual network of a spec with its weights, without the base."""
    net = build(residual_spec(spec))
    load_strict(net, state, source)
    return net


def weights_path(run: Path, spec: ArchSpec) -> Path:
    """Return where the weights of an architecture lie in a run directory."""
    return run / "weights" / f"{spec.arch_id}.safetensors"


def save_weights(net: Network, spec: ArchSpec, run: Path, *, over_base: bool) -> None:
    """Write weights into a run directory, whole or not at all; the metadata names the architecture.

    Args:
        over_base: whether they are those of a residual over the base: the metadata says so.
    """
    path = weights_path(run, spec)

    # On the CPU and contiguous, as safetensors takes them.
    state = {name: value.contiguous().cpu() for name, value in net.state_dict().items()}
    metadata = {"base": BASE} if over_base else {}

    with replaced(path, path.with_suffix(".partial")) as draft:
        # What safetensors itself writes fails with an error of its own, which names no file.
        draft.write_bytes(save(state, metadata={**metadata, "arch": spec.to_json()}))
