"""Load released checkpoints into networks, and recognise what network a checkpoint is of."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from search_spaces.checkpoints.choice import Judge, MisfitError, Verdict, choose_entry, pick_entry
from search_spaces.checkpoints.entries import check_numbers, open_entries
from search_spaces.checkpoints.families import published_name, recognise_specs, released_entries
from search_spaces.checkpoints.state_dict import Release, differences, plain_shapes, refuse
from search_spaces.network import Network
from search_spaces.published import published
from search_spaces.spec import ArchSpec

NOT_OURS = (
    "it has none of its names (released ones are known for relatives of published networks)",
)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a checkpoint without running any code from it, on the CPU, out of its usual wrappers.

    Averaged weights come before those that they are averages of.

    Args:
        path: the file; FILE:ENTRY where it holds more than one.
    Raises:
        FileNotFoundError: there is no such file. ValueError: it is no safetensors file and no plain
        tensor archive, holds no state dict, or several.
    """
    file, entry, entries = open_entries(path)
    chosen = pick_entry(entries, str(file), entry)
    check_numbers(chosen, file)
    return dict(chosen.state)


def load_strict(net: Network, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict whose names and shapes all fit; else load nothing.

    Raises:
        ValueError: what is missing, what is unexpected and what has another shape, by name.
    """
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    refuse(differences(shapes, state, {}), source)
    net.load_state_dict(dict(state))


def load_official(net: Network, path: str | Path) -> None:
    """Load a released checkpoint of a published network, or of a relative of one, strictly.

    A relative has the parts of a published network, but other widths, blocks or scale (a SPAN of 48
    channels for x2): its file has the published names. What stands around the state dict (wrappers,
    prefixes, numbers) is taken off; averaged weights come before raw ones; where more than one
    state dict fits, FILE:ENTRY chooses.

    A checkpoint may hold the merged convolutions (`eval_conv`), the branches of each Conv3XC (`sk`,
    `conv.0` to `conv.2`), or both, and the network may be in inference or in training form:

    - A Conv3XC of the network takes the branches. Other training forms, and a Conv3XC where the
      file holds merged weights alone, keep their own branches but the k x k one, which takes what
      they lack: to rounding the released function, to start a fine-tuning from.
    - A plain convolution takes the stored `eval_conv`, which is what released classes run (that of
      MambaGate even where its branches say otherwise), and where there is none the merged branches.
      The class of SPAN merges anew in every evaluation (`official_runs: branches` in its YAML):
      there the branches come first.

    Args:
        net: as `build(published(name))` or `build(published(name), train=True)` makes it.
        path: the released file (.pth or .safetensors), or FILE:ENTRY; one with our own names will
            do too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not fit, or several of its entries do; nothing is loaded.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from search_spaces import build, published
        >>> from search_spaces.official import load_official
        >>> net, trained = (build(published("spanf")) for _ in range(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"params_ema": trained.state_dict()}, f"{folder}/spanf.pth")
        ...     load_official(net, f"{folder}/spanf.pth")
        >>> image = torch.rand(1, 3, 8, 8)
        >>> torch.equal(net(image), trained(image))
        True
    """
    load_checkpoint(net, path)


def load_checkpoint(net: Network, path: str | Path) -> str:
    """Load as `load_official` does, and return which entry of which file was read.

    Raises:
        FileNotFoundError: as `load_official`.
        ValueError: as `load_official`.
    """
    file, asked, entries = open_entries(path)
    choice = choose_entry(entries, _make_judge(net), str(file), asked)
    check_numbers(choice.entry, file)

    release: Release | None = choice.verdict.result
    state = choice.entry.state if release is None else release.fitted(str(file))
    load_strict(net, state, str(file))
    return choice.describe(str(file))


def recognise(path: str | Path) -> ArchSpec:
    """Return the architecture of a checkpoint, by its names (released ones or ours) and shapes.

    Published networks and their relatives are known, as `load_official` loads them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of no such network, or may be of several.
    """
    file, asked, entries = open_entries(path)
    try:
        choice = choose_entry(entries, _judge_specs, str(file), asked)
    except MisfitError:
        raise ValueError(
            f"weights: {file} is not recognised, its names and shapes are of no published network "
            "and no relative of one; say what it is of: arch=published/NAME, or arch=FILE with its "
            "spec"
        ) from None

    specs: list[ArchSpec] = list(choice.verdict.result.values())
    if len(specs) > 1:
        fitting = ", ".join(spec.arch_id for spec in specs)
        raise ValueError(
            f"weights: {file} may be of {len(specs)} architectures ({fitting}); say which: "
            "arch=FILE with its spec"
        )

    name = published_name(specs[0])
    return specs[0] if name is None else published(name)


def describe_origin(spec: ArchSpec) -> str:
    """Say of which published network a spec is a relative: whose released names fit it."""
    name = published_name(spec)
    if name is not None:
        return f"published/{name}"
    relatives = [released["name"] for released in released_entries(spec)]
    return (
        f"a relative of published/{relatives[0]}"
        if relatives
        else "no relative of a published network"
    )


def _make_judge(net: Network) -> Judge:
    """Return a judge of whether a state dict fits a network, under our names or released ones."""

    # Our names are tried where some of them are there, or where no released ones are known.
    own_shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    own_branches = own_shapes.keys() - plain_shapes(net).keys()
    released = released_entries(net.spec)

    def judge(state: Mapping[str, Tensor]) -> Verdict:
        verdicts = []
        if own_branches & state.keys() or not released:
            faults = differences(own_shapes, state, {})
            num_known = len(own_shapes.keys() & state.keys())
            unknown = () if num_known or not faults else NOT_OURS
            verdicts.append(Verdict(num_known=num_known, faults=(*unknown, *faults)))
        else:
            for published in released:
                release = Release(net, state, published)
                faults = release.faults()
                verdicts.append(
                    Verdict(num_known=release.num_known, faults=tuple(faults), result=release)
                )

        # The verdict that fits, else the one that knows most names.
        return min(verdicts, key=lambda verdict: (len(verdict.faults) > 0, -verdict.num_known))

    return judge


def _judge_specs(state: Mapping[str, Tensor]) -> Verdict:
    """Judge whether a state dict is of some architecture that is known."""
    specs = recognise_specs(state)
    return Verdict(num_known=len(specs), faults=() if specs else ("not recognised",), result=specs)
