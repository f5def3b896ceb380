"""A network with its weights, as arch= and weights= name it."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from nas.analysis.picks import pick
from nas.commands.architectures import kept_weights, resolve_arch, split_pick
from nas.report.words import describe
from nas.search.store.run_folder.runs import load_run
from nas.train.weights import find_spec, read_metadata, read_upscaler
from search_spaces import ArchSpec
from search_spaces.checkpoints.official import describe_origin


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedNetwork:
    """A network with its weights.

    Attributes:
        arch: as it was given; None: the file told the architecture.
        upscaler: gives whole images, on the CPU.
        source: which entry of which file was read.
        base: the base that is added to weights of a proxy; None: they are a whole network's.
    """

    arch: str | None
    spec: ArchSpec
    upscaler: nn.Module
    source: str
    base: str | None

    def describe(self) -> str:
        """Return the line that stands above what is said of the network."""
        origin = self.arch or f"recognised: {describe_origin(self.spec)}, {describe(self.spec)}"
        # Weights of a proxy were trained over a base, which is added again.
        residual = f", a proxy's residual with its {self.base} base added" if self.base else ""
        return f"{origin}  x{self.spec.scale}, {self.spec.arch_id}, weights {self.source}{residual}"


def open_network(arch: str | None, weights: str | None) -> OpenedNetwork:
    """Open a network; without `arch` the file of weights tells it.

    Raises:
        ValueError: it cannot be told or built, or the weights are not there or do not fit.
    """
    named = None if arch is None else resolve_arch(arch)
    path = find_weights(arch, weights)
    spec = named or find_spec(path)
    upscaler, source = read_upscaler(spec, path)
    base = read_metadata(path).base
    return OpenedNetwork(arch=arch, spec=spec, upscaler=upscaler, source=source, base=base)


def find_weights(arch: str | None, weights: str | None) -> Path:
    """Return the file that is named, or the weights that a run keeps of its pick.

    Raises:
        ValueError: none is named and arch is no pick of a run, or the run keeps none of it.
    """
    if weights is not None:
        return Path(weights).expanduser()
    if arch is None:
        raise ValueError(
            "weights has to be given: weights=FILE, .safetensors or .pth, or arch=RUN:PICK"
        )

    # A run keeps weights of its own networks; any other architecture needs a file.
    run_pick = split_pick(arch)
    if run_pick is None:
        raise ValueError(
            f"weights has to be given for arch={arch}: weights=FILE, .safetensors or .pth "
            "(only RUN:PICK has weights of its own)"
        )

    folder, word = run_pick
    state = load_run(folder)

    # Errors name the argument: a run knows nothing of what was typed.
    try:
        return kept_weights(folder, state, pick(state, word))
    except ValueError as error:
        raise ValueError(f"arch={arch}: {error}") from None
