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

# Linear in their weights, so these are fitted; other gates start afresh.
LINEAR_GATES = (LearnedPointwise, LearnedDiagonal)


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
        source: the parent's; None for a new block.
        down: (kept, C): the parent's channels that are kept.
        fit: the block's third convolution, at its start.
        passed: (rows, C): the child's input in the block's width.
        all_features: (rows, C): the parent's features.
        target: (rows, kept): what the block is to give.
    """
    gate = block.attention
    features = all_features @ down.T

    # Under another gate than the parent's, other features come nearest to the target.
    is_same_gate = source is not None and type(gate) is type(source.attention)
    if isinstance(gate, PARAMETER_FREE_GATES) and not is_same_gate:
        features, target = _match_features(gate, source, down, fit, passed, all_features, target)
    if isinstance(gate, Residual) and not is_same_gate:
        kept_input = passed[:, : target.shape[1]]
        rest = target - kept_input
        features = torch.zeros_like(rest) if is_close(kept_input, target) else rest

    fit.to(features)

    if isinstance(gate, LINEAR_GATES):
        f = fit.outputs()
        _start_learned(gate, source, down, features, f)
        output = gate(passed[:, :, None, None], f[:, :, None, None]).flatten(1)
        if not is_close(output[:, : target.shape[1]], target):
            _fit_learned(gate, passed, f, target)


def _match_features(
    gate: nn.Module,
    source: SPAB | None,
    down: Tensor,
    fit: Fit,
    passed: Tensor,
    all_features: Tensor,
    target: Tensor,
) -> tuple[Tensor, Tensor]:
    """Find features for a gate without weights; see `match` for what is returned."""
    kept = target.shape[1]
    kept_input = passed[:, :kept, None, None]

    # Starts: the parent's features; those that give the target where the gate is fully open, that
    # is (x + f) / 2; and the values of the parent's learned gate.
    choices = [all_features @ down.T, 2 * target - kept_input.flatten(1)]
    if source is not None and isinstance(source.attention, LearnedPointwise | LearnedDiagonal):
        gate_features = source.attention.conv(all_features[:, :, None, None]).flatten(1)
        choices.append(gate_features @ down.T)

    return match(
        lambda f, every: gate(kept_input[::every], f[:, :, None, None]).flatten(1),
        [fit.reached(choice) for choice in choices],
        target,
        torch.ones(kept),
        shift=fit.conv.bias is not None,
    )


def _start_learned(
    gate: nn.Module, source: SPAB | None, down: Tensor, features: Tensor, f: Tensor
) -> None:
    """Start a learned gate at the parent's as the child sees it.

    The gate of a new block starts open: x stays where f is zero.
    """
    assert isinstance(gate, LearnedPointwise | LearnedDiagonal)
    kept, width = down.shape

    # The parent's gate as a matrix over its channels, and a bias.
    mix, bias = torch.zeros(width, width), torch.ones(width)
    theirs = source.attention if source else None
    if isinstance(theirs, LearnedPointwise | LearnedDiagonal):
        weight = theirs.conv.weight.flatten(1)
        mix = weight if isinstance(theirs, LearnedPointwise) else weight.flatten().diag()
        assert theirs.conv.bias is not None
        bias = theirs.conv.bias
    elif isinstance(theirs, ParameterFree | HardParameterFree):
        # The slope at zero: 1/4 of sigmoid, 1/6 of hard sigmoid.
        divisor = 4 if isinstance(theirs, ParameterFree) else 6
        mix, bias = torch.eye(width) / divisor, torch.zeros(width)

    assert gate.conv.bias is not None
    gate.conv.bias[:kept] = down @ bias
    if source is None:
        return

    # The same matrix over the child's channels.
    ours = down @ mix @ down.T
    if isinstance(gate, LearnedDiagonal):
        gate.conv.weight[:kept] = ours.diagonal()[:, None, None, None]
    else:
        up = View.between(torch.eye(kept), features, f).up
        gate.conv.weight[:kept] = (ours @ up)[:, :, None, None]


def _fit_learned(gate: nn.Module, passed: Tensor, f: Tensor, target: Tensor) -> None:
    """Fit the gate's weights by least squares; given f, the output is linear in them."""
    assert isinstance(gate, LearnedPointwise | LearnedDiagonal)
    assert gate.conv.bias is not None
    for c in range(target.shape[1]):
        # Output c is (x + f)_c times the gate's affine function of f: one regression a channel.
        read = f if isinstance(gate, LearnedPointwise) else f[:, [c]]
        gated = passed[:, c] + f[:, c]
        columns = torch.cat([read, torch.ones(len(f), 1)], 1) * gated[:, None]
        start = torch.cat([gate.conv.weight[c].flatten(), gate.conv.bias[[c]]])
        residual = (target[:, c] - columns @ start)[:, None]
        change = solve(product(columns, columns), product(columns, residual)).flatten()
        gate.conv.weight[c] += change[:-1].view_as(gate.conv.weight[c])
        gate.conv.bias[c] += change[-1]
