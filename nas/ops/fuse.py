"""Swaps the parts of a network for their fused twins, in a copy with the same state dict."""

import copy
from collections.abc import Callable
from typing import Literal, TypeGuard

from torch import nn

from nas.ops.conv_act.module import ConvAct, FusedConvStack, FusedSPAB, why_plain
from nas.ops.span_attention.module import FusedLearnedPointwise, FusedParameterFree
from search_spaces.blocks.conv import ConvStack
from search_spaces.blocks.spab import SPAB
from search_spaces.layers.attention.gates import (
    HardParameterFree,
    LearnedDiagonal,
    LearnedPointwise,
    ParameterFree,
    Residual,
)
from search_spaces.network import Network
from search_spaces.reparam import RepConv2d

Level = Literal["operator", "epilogue"]

# Attentions with an operator of their own.
OPERATORS: dict[type[nn.Module], Callable[[int], nn.Module]] = {
    LearnedPointwise: FusedLearnedPointwise,
    ParameterFree: FusedParameterFree,
}
# Attentions that a convolution's kernel computes on its own result.
EPILOGUES: dict[type[nn.Module], str] = {
    LearnedPointwise: "conv1x1",
    ParameterFree: "parameter_free",
    HardParameterFree: "hard_parameter_free",
    LearnedDiagonal: "diagonal",
    Residual: "residual",
}
CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
FUSED = (ConvAct, FusedConvStack, FusedSPAB)


def fuse(net: Network, *, attention: Level = "operator") -> Network:
    """Return a copy of a network that computes the same with fused kernels, on the CPU too.

    It has the same spec, state dict, parameters and counts. Its convolutions and activations are
    calls of nas::conv_act, which on CUDA keep features channels_last. Modules without a fused twin
    stay plain: see `unfused`.

    Args:
        net: in inference form.
        attention: where attentions are computed. `operator`: by nas::span_attention and
            nas::parameter_free_attention, after the block's third convolution; attentions without
            an operator are in that convolution's epilogue. `epilogue`: all are there.
    Raises:
        ValueError: the network holds training branches, or there is no such level.
    Example:
        >>> import torch
        >>> from search_spaces import build, published
        >>> net = build(published("span")).eval()
        >>> image = torch.rand(1, 3, 24, 32)
        >>> with torch.no_grad():
        ...     torch.allclose(fuse(net)(image), net(image), atol=1e-5)
        True
        >>> unfused(fuse(net))
        {}
    """
    if attention not in ("operator", "epilogue"):
        raise ValueError(f"attention must be operator or epilogue, got {attention!r}")
    if branches := [name for name, module in net.named_modules() if isinstance(module, RepConv2d)]:
        raise ValueError(
            f"fuse: {branches[0]} holds training branches; fold the network first: fuse(net.fold())"
        )
    # Twins take over the parameters of the modules that they replace: those of the copy.
    fused = copy.deepcopy(net)
    _swap_children(fused, attention)
    return fused


def unfused(net: nn.Module) -> dict[str, str]:
    """Return the modules of a network that stayed plain, by name, each with the reason."""
    return dict(_list_plain_parts(net, ""))


def _swap_children(parent: nn.Module, attention: Level) -> None:
    """Replace every child that has a twin; look into those that have none."""
    for name, child in parent.named_children():
        twin = _make_twin(child, attention)
        if twin is not None:
            setattr(parent, name, twin)
        else:
            _swap_children(child, attention)


def _make_twin(module: nn.Module, attention: Level) -> nn.Module | None:
    """Return the fused twin of a module; None: it has none.

    Only exact types have one: a class derived from them may compute something else.
    """
    # A block with a convolution that has no kernel has no twin; its parts may have.
    if type(module) is SPAB and type(module.attention) in EPILOGUES and _has_plain_convs(module):
        operator = OPERATORS.get(type(module.attention)) if attention == "operator" else None
        if operator is not None:
            return FusedSPAB(module, _make_operator_twin(operator, module.attention), "none")
        return FusedSPAB(module, module.attention, EPILOGUES[type(module.attention)])

    if type(module) is ConvStack and _has_plain_convs(module):
        return FusedConvStack(module)
    return ConvAct(module, "none") if _is_plain_conv(module) else None


def _make_operator_twin(kind: Callable[[int], nn.Module], attention: nn.Module) -> nn.Module:
    """Return the twin of an attention, with its parameters."""
    twin = kind(1)  # its own parameters go: the channel count does not matter
    for name, child in attention.named_children():
        setattr(twin, name, child)
    return twin.train(attention.training)


def _has_plain_convs(block: SPAB | ConvStack) -> bool:
    return all(_is_plain_conv(conv) for conv in (block.conv1, block.conv2, block.conv3))


def _is_plain_conv(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return type(module) is nn.Conv2d and why_plain(module) is None


def _list_plain_parts(module: nn.Module, path: str) -> list[tuple[str, str]]:
    parts = []
    for name, child in module.named_children():
        here = f"{path}{name}"
        if isinstance(child, (*FUSED, nn.Identity)) or (
            isinstance(child, CONTAINERS) and not len(child)
        ):
            continue

        # Of a module that holds others, those are named; a leaf is named itself.
        if isinstance(child, nn.Conv2d):
            parts.append((here, why_plain(child) or "it was not fused"))
        elif any(True for _ in child.children()):
            parts += _list_plain_parts(child, f"{here}.")
        else:
            parts.append((here, f"{type(child).__name__} has no kernel"))
    return parts
