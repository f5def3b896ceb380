"""A SPAN's plain convolutions as the training branches under which spandrel knows it."""

from collections.abc import Callable

import torch
from torch import Tensor

from search_spaces.checkpoints.key_names import MERGED, released_branch, released_name
from search_spaces.network import Network
from search_spaces.published import key_patterns, published
from search_spaces.spec import ArchSpec, BlockSpec

GAIN = 2  # of spandrel's Conv3XC
NO_NORM = "no_norm"  # the mark of a SPAN that sees the image as it is
Rule = tuple[str, Callable[[ArchSpec], bool]]

# What spandrel's SPAN is, in the words of a spec; the first rule that fails is what is said.
RULES: tuple[Rule, ...] = (
    ("no layers around the network (wrap)", lambda spec: not spec.wrap),
    ("a 3x3 convolution with biases as its stem", lambda spec: _is_conv(spec.stem, 3)),
    ("six blocks and a convolution", lambda spec: len(spec.blocks) == 7),
    ("spab blocks before that", lambda spec: all(b.kind == "spab" for b in spec.blocks[:-1])),
    ("a 3x3 convolution with biases last", lambda spec: _is_conv(spec.blocks[-1], 3)),
    ("silu activations", lambda spec: _share_argument(spec, "activation", "silu")),
    ("parameter_free attention", lambda spec: _share_argument(spec, "attention", "parameter_free")),
    ("biases in every block", lambda spec: _share_argument(spec, "bias", True)),
    ("one width throughout", lambda spec: len(_list_widths(spec)) == 1),
    (
        "the fused features stem, block7, block1, block6.inner, in this order",
        lambda spec: spec.taps == published("span").taps and not spec.scaled_taps,
    ),
    ("a 1x1 convolution with biases as its fusion", lambda spec: _is_conv(spec.fusion, 1)),
    ("nothing after the fusion", lambda spec: not spec.tail and not spec.residuals),
    ("no skip branch", lambda spec: spec.skip is None),
    (
        "a 3x3 convolution with biases before the pixel shuffle",
        lambda spec: spec.upsampler == published("span").upsampler,
    ),
)


def check_span(spec: ArchSpec) -> None:
    """Check that spandrel's SPAN can be an architecture.

    Raises:
        ValueError: it cannot; the message gives the rule that fails.
    """
    for rule, holds in RULES:
        if not holds(spec):
            raise ValueError(
                f"spandrel knows SPANs alone, and they have {rule}; formats=[onnx] may take this "
                "network"
            )


def lift(net: Network) -> dict[str, Tensor]:
    """Return the state of spandrel's SPAN that computes what a network in plain form does.

    Each kernel K goes into branches that merge to it to the last bit: between the 1x1 of an
    identity over random rows and that of an identity beside random columns, K stands in the corner
    of zeros. So no rounding comes in, and a training that goes on from here moves every branch.
    """
    patterns = key_patterns("span", len(net.spec.blocks))
    generator = torch.Generator().manual_seed(0)
    state = {key: value.detach().cpu() for key, value in net.state_dict().items()}

    lifted: dict[str, Tensor] = {}
    for name, weight in state.items():
        key = released_name(name, patterns)
        lifted[key] = weight.contiguous()

        # The merged convolution stays beside its branches, as detection asks for it.
        conv, _, kind = name.rpartition(".")
        if MERGED in key and kind == "weight":
            for branch, value in _make_branches(weight, state[f"{conv}.bias"], generator).items():
                lifted[released_branch(conv, branch, patterns)] = value

    # Its value says nothing: the mark is that it is there.
    return lifted if net.spec.normalise else lifted | {NO_NORM: torch.zeros(1)}


def _make_branches(weight: Tensor, bias: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the branches of a Conv3XC by our names, which merge to a kernel exactly."""
    channels, in_channels, kernel, _ = weight.shape
    width, outer = GAIN * in_channels, GAIN * channels

    inner = weight.new_zeros(outer, width, kernel, kernel)
    inner[:channels, :in_channels] = weight
    expand = _extend_identity(width, in_channels, generator)
    project = _extend_identity(outer, channels, generator).T.contiguous()
    return {
        "shortcut.weight": weight.new_zeros(channels, in_channels, 1, 1),
        "shortcut.bias": torch.zeros_like(bias),
        "expand.weight": expand[:, :, None, None],
        "expand.bias": weight.new_zeros(width),
        "conv.weight": inner,
        "conv.bias": weight.new_zeros(outer),
        "project.weight": project[:, :, None, None],
        "project.bias": bias.clone(),
    }


def _extend_identity(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Return an identity over random rows, (rows, columns), as large as PyTorch starts them."""
    bound = columns**-0.5
    below = torch.rand(rows - columns, columns, generator=generator) * 2 * bound - bound
    return torch.cat([torch.eye(columns), below])


def _is_conv(block: BlockSpec | None, kernel: int) -> bool:
    if block is None or block.kind != "conv":
        return False
    args = dict(block.args)
    return (args["kernel"], args["bias"]) == (kernel, True)


def _share_argument(spec: ArchSpec, name: str, value: str | bool) -> bool:
    return all(dict(block.args).get(name) == value for block in spec.blocks[:-1])


def _list_widths(spec: ArchSpec) -> set[object]:
    layers = [spec.stem, *spec.blocks, spec.fusion]
    return {dict(layer.args)["channels"] for layer in layers if layer is not None}
