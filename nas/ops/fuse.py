"""Swap the parts of a network for their fused twins, in a copy: one network, the same state dict."""

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

OPERATORS: dict[
    type[nn.Module], Callable[[int], nn.Module]
] = {  # attentions with an operator of their own
    LearnedPointwise: FusedLearnedPointwise,
    ParameterFree: FusedParameterFree,
}
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
    """A copy of a network that computes the same with fused kernels, on the CPU too.

    It has the same spec, state dict, parameters and counts. Its convolutions and activations are calls of
    nas::conv_act; on CUDA they keep features channels_last. What has no twin stays plain: see `unfused`.

    Args:
        net: in inference form.
        attention: `operator`: nas::span_attention and nas::parameter_free_attention after the block's third
            convolution, and attentions without an operator inside that convolution's epilogue; `epilogue`:
            all of them there.

    Raises:
        ValueError: the network holds training branches, or there is no such level.
    """
    if attention not in ("operator", "epilogue"):
        raise ValueError(f"attention must be operator or epilogue, got {attention!r}")
    if branches := [name for name, module in net.named_modules() if isinstance(module, RepConv2d)]:
        raise ValueError(
            f"fuse: {branches[0]} holds training branches; fold the network first: fuse(net.fold())"
        )
    fused = copy.deepcopy(net)
    _swap(fused, attention)
    return fused


def unfused(net: nn.Module) -> dict[str, str]:
    """Say which parts of a network stayed plain, and why: names of modules and reasons."""
    return dict(_plain_parts(net, ""))


def _swap(parent: nn.Module, attention: Level) -> None:
    """Replace every child that has a twin; look into those that have none."""
    for name, child in parent.named_children():
        twin = _twin(child, attention)
        if twin is not None:
            setattr(parent, name, twin)
        else:
            _swap(child, attention)


def _twin(module: nn.Module, attention: Level) -> nn.Module | None:
    """The fused twin of exactly this kind of module: a kind derived from it may compute something else."""
    if type(module) is SPAB and type(module.attention) in EPILOGUES and _has_plain_convs(module):
        operator = OPERATORS.get(type(module.attention)) if attention == "operator" else None
        if operator is not None:
            return FusedSPAB(module, _operator_twin(operator, module.attention), "none")
        return FusedSPAB(module, module.attention, EPILOGUES[type(module.attention)])
    if type(module) is ConvStack and _has_plain_convs(module):
        return FusedConvStack(module)
    return ConvAct(module, "none") if _is_plain_conv(module) else None


def _operator_twin(kind: Callable[[int], nn.Module], attention: nn.Module) -> nn.Module:
    """The twin of an attention, with its parameters."""
    twin = kind(1)
    for name, child in attention.named_children():
        setattr(twin, name, child)
    return twin.train(attention.training)


def _has_plain_convs(block: SPAB | ConvStack) -> bool:
    return all(_is_plain_conv(conv) for conv in (block.conv1, block.conv2, block.conv3))


def _is_plain_conv(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return type(module) is nn.Conv2d and why_plain(module) is None


def _plain_parts(module: nn.Module, path: str) -> list[tuple[str, str]]:
    found = []
    for name, child in module.named_children():
        here = f"{path}{name}"
        if isinstance(child, (*FUSED, nn.Identity)) or (
            isinstance(child, CONTAINERS) and not len(child)
        ):
            continue
        if isinstance(child, nn.Conv2d):
            found.append((here, why_plain(child) or "it was not fused"))
        elif any(True for _ in child.children()):
            found += _plain_parts(child, f"{here}.")
        else:
            found.append((here, f"{type(child).__name__} has no kernel"))
    return found
