"""Weights on disk onto an upscaler: a released checkpoint, our own, or a proxy's residual over its base."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nas.train.proxy import BASE, OverBase, residual_spec
from search_spaces.network import Network, build
from search_spaces.official import load_official, load_strict, published_name, read_state
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a file says of itself; `base` is what it is a residual over, None for a whole network."""

    base: str | None
    spec: ArchSpec | None


def read_metadata(path: Path) -> Weights:
    """The metadata of a safetensors file; nothing is known of another file.

    Raises:
        ValueError: its base is not known here, or its architecture is none.
    """
    if path.suffix != ".safetensors":
        return Weights(base=None, spec=None)
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    base = metadata.get("base")
    if base not in (None, BASE):
        raise ValueError(f"weights: {path} is a residual over base={base}, which is not known; known: {BASE}")
    try:
        spec = ArchSpec.from_json(metadata["arch"]) if "arch" in metadata else None
    except ValueError as error:
        raise ValueError(f"weights: {path}: its metadata: {error}") from None
    return Weights(base=base, spec=spec)


def load_upscaler(spec: ArchSpec, path: Path) -> nn.Module:
    """A network with the weights of a file, its base added where they are a residual; in evaluation mode.

    Args:
        spec: what the weights are for; for a published network also under the names of its release.
        path: .safetensors, or what torch.load(weights_only=True) reads.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read without running code, it is of another architecture, or a name or shape
            does not fit.
    """
    state = read_state(path)
    known = read_metadata(path)
    if known.spec is not None and known.spec.arch_id != spec.arch_id:
        raise ValueError(
            f"weights: {path} belongs to the architecture {known.spec.arch_id}, arch is {spec.arch_id}; "
            "give the arch that it was made for"
        )
    if known.base is not None:
        return OverBase(residual_network(spec, state, str(path))).eval()
    net = build(spec)
    if published_name(spec):
        load_official(net, path)
    else:
        load_strict(net, state, str(path))
    return net.eval()


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
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".partial")
    state = {name: value.contiguous().cpu() for name, value in net.state_dict().items()}
    save_file(state, draft, metadata={"base": BASE, "arch": spec.to_json()})
    draft.replace(path)
