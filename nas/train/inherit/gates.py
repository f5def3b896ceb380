"""A block's third convolution and its gate, fitted together."""

import torch
from torch import Tensor, nn

from nas.train.inherit.fitting import Fit, product, solve
from nas.train.inherit.matching import match
from nas.train.inherit.views import View, is_close
from search_spaces.blocks.spab import SPAB
from search_spaces.layers.attention import PARAMETER_FREE_GATES
from search_spaces.layers.attention.gates import (
    HardParameterFree,
    LearnedDiagonal,
    LearnedPointwise,
    ParameterFree,
    Residual,
)

LINEAR_GATES = (
    LearnedPointwise,
    LearnedDiagonal,
)  # linear in their weights: fitted, others start afresh


def fit_gate(
    block: SPAB,
    source: SPAB | None,
    down: Tensor,
    fit: Fit,
    passed: Tensor,
    all_features: Tensor,
    target: Tensor,
) -> None:
    """Fit what a block does with its input and its features.

    Args:
        block: the child's.
        source: the parent's, None where the block is new.
        down: the channels of the parent's that are kept.
        fit: the block's third convolution, at its start.
        passed: the child's input in the block's width, (rows, C).
        all_features: the parent's features, (rows, C).
        target: what the block is to give, (rows, kept).
    """
    kept = target.shape[1]
    gate = block.attention
    features = all_features @ down.T

    def give(f: Tensor) -> Tensor:
        out: Tensor = gate(passed[:, :, None, None], f[:, :, None, None])
        return out.flatten(1)

    same = source is not None and type(gate) is type(source.attention)
    if isinstance(gate, PARAMETER_FREE_GATES) and not same:
        seen = passed[:, :kept, None, None]
        choices = [features, 2 * target - seen.flatten(1)]
        if source is not None and isinstance(source.attention, LearnedPointwise | LearnedDiagonal):
            theirs = source.attention.conv(all_features[:, :, None, None]).flatten(1)
            choices.append(theirs @ down.T)
        features, target = match(
            lambda f, every: gate(seen[::every], f[:, :, None, None]).flatten(1),
            [fit.reached(choice) for choice in choices],
            target,
            torch.ones(kept),
            shift=fit.conv.bias is not None,
        )
    if isinstance(gate, Residual) and not same:
        rest = target - passed[:, :kept]
        features = torch.zeros_like(rest) if is_close(passed[:, :kept], target) else rest
    fit.to(features)
    f = fit.outputs()
    if isinstance(gate, LINEAR_GATES):
        _start_learned(gate, source, down, features, f)
    if isinstance(gate, LINEAR_GATES) and not is_close(give(f)[:, :kept], target):
        _fit_learned(gate, passed, f, target)


def _start_learned(
    gate: nn.Module, source: SPAB | None, down: Tensor, features: Tensor, f: Tensor
) -> None:
    """The gate of the parent as the child sees it; of a new block an open one: x stays where f is zero."""
    assert isinstance(gate, LearnedPointwise | LearnedDiagonal)
    kept, width = down.shape
    mix, bias = torch.zeros(width, width), torch.ones(width)
    theirs = source.attention if source else None
    if isinstance(theirs, LearnedPointwise | LearnedDiagonal):
        weight = theirs.conv.weight.flatten(1)
        mix = weight if isinstance(theirs, LearnedPointwise) else weight.flatten().diag()
        assert theirs.conv.bias is not None
        bias = theirs.conv.bias
    elif isinstance(theirs, ParameterFree | HardParameterFree):
        mix, bias = (
            torch.eye(width) / (4 if isinstance(theirs, ParameterFree) else 6),
            torch.zeros(width),
        )
    assert gate.conv.bias is not None
    gate.conv.bias[:kept] = down @ bias
    if source is None:
        return
    ours = down @ mix @ down.T
    if isinstance(gate, LearnedDiagonal):
        gate.conv.weight[:kept] = ours.diagonal()[:, None, None, None]
    else:
        up = View.between(torch.eye(kept), features, f).up
        gate.conv.weight[:kept] = (ours @ up)[:, :, None, None]


def _fit_learned(gate: nn.Module, passed: Tensor, f: Tensor, target: Tensor) -> None:
    """Least squares for the gate's weights, given its features: the output is linear in them."""
    assert isinstance(gate, LearnedPointwise | LearnedDiagonal)
    assert gate.conv.bias is not None
    for c in range(target.shape[1]):
        seen = f if isinstance(gate, LearnedPointwise) else f[:, [c]]
        weighed = passed[:, c] + f[:, c]
        columns = torch.cat([seen, torch.ones(len(f), 1)], 1) * weighed[:, None]
        start = torch.cat([gate.conv.weight[c].flatten(), gate.conv.bias[[c]]])
        residual = (target[:, c] - columns @ start)[:, None]
        change = solve(product(columns, columns), product(columns, residual)).flatten()
        gate.conv.weight[c] += change[:-1].view_as(gate.conv.weight[c])
        gate.conv.bias[c] += change[-1]
