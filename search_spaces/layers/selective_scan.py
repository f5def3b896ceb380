"""The selective scan of Mamba: a linear recurrence along tokens, exact, in parallel chunks."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from search_spaces.layers.tracing import is_traced

LONGEST_CHUNK = 64  # tokens of a chunk, which are walked one by one
VALUES_AT_ONCE = 2**21  # of the states that are walked together: 8 MiB in float32


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Return y_t = <s_t, C_t> + D u_t of the states s_t = exp(delta_t A) s_(t-1) + delta_t B_t u_t.

    The scan starts with s_0 = 0.

    On CUDA the kernel of the package mamba_ssm is used where that is installed (not for float64);
    everywhere else plain PyTorch, in which the chunks of the sequence are walked side by side,
    first for the state that each leaves behind, then from the state in which the one before left
    it. Nothing is divided and, A being negative, no exponential is above one. Beside inputs and
    output it holds few states of each chunk, for a gradient (which walks again) the states of all
    tokens for some of their rows: memory is linear in the length. Sums are in float32 at least.
    None of it is a matrix product: the scan counts no FLOPs. What torch.jit.trace records is for
    one length, and without gradients.

    Args:
        u: (batch, length, channels), what drives the states.
        delta: (batch, length, channels), positive: the step of each token.
        A: (channels, d_state), negative: how fast each state decays.
        B: (batch, length, d_state), how a token enters the states.
        C: (batch, length, d_state), how the states are read.
        D: (channels,), the share of u that passes by.

    Returns:
        (batch, length, channels) in the dtype of u.

    Raises:
        ValueError: the shapes do not fit.

    Source: Gu and Dao, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, 2023.
    """
    _check_shapes(u, delta, A, B, C, D)
    dtype = torch.promote_types(u.dtype, torch.float32)
    if u.is_cuda and dtype == torch.float32 and (kernel := _mamba_ssm()) is not None:
        return run_kernel(kernel, u, delta, A, B, C, D)

    # Else in plain PyTorch; the autograd function is only worth its cost where gradients are asked.
    given = [x.to(dtype) for x in (u, delta, A, B, C)]
    if is_traced():  # a recorded scan gives no gradients
        given = [x.detach() for x in given]
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in given)
    scan = _Scan.apply if differentiated else _scan_chunks
    y: Tensor = scan(*given)
    return torch.addcmul(y, given[0], D.to(dtype)).to(u.dtype)


def run_kernel(
    kernel: Callable[..., Tensor],
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
) -> Tensor:
    """Compute `selective_scan` by mamba_ssm, which has the tokens last, and A and D in float32."""
    tokens_last = [x.to(u.dtype).transpose(1, 2).contiguous() for x in (u, delta, B, C)]
    out = kernel(
        *tokens_last[:2], A.float().contiguous(), *tokens_last[2:], D=D.float().contiguous()
    )
    return out.transpose(1, 2)


@functools.cache
def _mamba_ssm() -> Callable[..., Tensor] | None:
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    kernel: Callable[..., Tensor] = selective_scan_fn
    return kernel


def _check_shapes(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> None:
    if u.dim() != 3 or 0 in u.shape:
        raise ValueError(
            f"scan: u must be (batch, length, channels), none of them 0, got {tuple(u.shape)}"
        )

    batch, length, channels = u.shape
    d_state = A.shape[-1]

    shapes = {
        "delta": (delta, (batch, length, channels)), "A": (A, (channels, d_state)),
        "B": (B, (batch, length, d_state)), "C": (C, (batch, length, d_state)),
        "D": (D, (channels,)),
    }  # fmt: skip

    # PyTorch would broadcast many wrong shapes to a result.
    for name, (given, shape) in shapes.items():
        if given.shape != shape:
            raise ValueError(
                f"scan: {name} must be {tuple(shape)} beside u {tuple(u.shape)} and {d_state} "
                f"states, got {tuple(given.shape)}"
            )


class _Scan(torch.autograd.Function):
    """<s_t, C_t>; keeps its inputs alone, and walks again for the gradients."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        return _scan_chunks(*given)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return _compute_gradients(grad, *ctx.saved_tensors)


class _Walk:
    """Rows of the state, (rows, batch, chunks, channels), that go through all chunks together.

    Args:
        delta: (tokens, batch, chunks, channels).
        drive: delta * u, likewise.
        A: (rows, channels).
        B: (tokens, rows, batch, chunks).
    """

    def __init__(self, delta: Tensor, drive: Tensor, A: Tensor, B: Tensor) -> None:
        # On the meta device nothing is computed, and one token has the shapes of all.
        self.total, self.tokens = delta.sum(0), range(1 if delta.is_meta else len(delta))
        self.delta, self.drive, self.B = delta.unbind(), drive.unbind(), B[..., None].unbind()
        self.A = A.contiguous()[:, None, None]
        self.scratch = delta.new_empty(len(A), *delta.shape[1:])

    def decay(self, j: int) -> Tensor:
        """Return what token j leaves of the state; it lies in `scratch`."""
        return torch.mul(self.delta[j], self.A, out=self.scratch).exp_()

    def advance(self, state: Tensor, j: int) -> None:
        """Advance the state over token j, in place."""
        state.mul_(self.decay(j)).addcmul_(self.drive[j], self.B[j])

    def start(self) -> Tensor:
        """Return the state in which each chunk begins."""
        left = torch.zeros_like(self.scratch)
        for j in self.tokens:
            self.advance(left, j)
        return _carry_states((self.total * self.A).exp_(), left)

    def end(self, grad: Tensor, C: Tensor) -> Tensor:
        """Return the gradient that the last states of chunks get from the chunks behind them.

        Args:
            grad: of y, (tokens, batch, chunks, channels).
            C: (tokens, rows, batch, chunks).
        """
        left = torch.zeros_like(self.scratch)
        for j in reversed(self.tokens):
            left.addcmul_(grad[j], C[j, ..., None]).mul_(self.decay(j))
        return _carry_states((self.total * self.A).exp_().flip(2), left.flip(2)).flip(2)


def _carry_states(kept: Tensor, added: Tensor) -> Tensor:
    """Return what comes into each chunk: x_(k+1) = kept_k x_k + added_k, x_0 = 0, by doubling.

    The arguments are overwritten.

    Args:
        kept, added: (rows, batch, chunks, channels).
    """
    reach = 1
    while reach < kept.shape[2]:
        added[:, :, reach:] += kept[:, :, reach:] * added[:, :, :-reach]
        kept[:, :, reach:] = kept[:, :, reach:] * kept[:, :, :-reach]
        reach *= 2
    return F.pad(added[:, :, :-1], (0, 0, 1, 0))


def _scan_chunks(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Return <s_t, C_t> for all tokens, without what a gradient would need."""
    length = u.shape[1]
    delta, drive, B, C = (
        _split_chunks(delta),
        _split_chunks(delta * u),
        _split_by_row(B),
        _split_by_row(C),
    )

    y = torch.zeros_like(drive)
    for rows in _group_rows(A, delta[0].numel()):
        walk = _Walk(delta, drive, A.T[rows], B[:, rows])
        state, read = walk.start(), torch.empty_like(y[0])
        outputs, reads = y.unbind(), C[:, rows, ..., None].unbind()
        for j in walk.tokens:
            walk.advance(state, j)
            outputs[j].add_(torch.sum(torch.mul(state, reads[j], out=walk.scratch), 0, out=read))

    return _join_chunks(y, length)


def _compute_gradients(
    grad: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of u, delta, A, B and C."""
    length, steps = u.shape[1], delta
    grad, delta, drive, B, C = (
        _split_chunks(grad),
        _split_chunks(delta),
        _split_chunks(delta * u),
        _split_by_row(B),
        _split_by_row(C),
    )
    d_delta, d_drive = torch.zeros_like(delta), torch.zeros_like(delta)
    d_A, d_B, d_C = torch.zeros_like(A), torch.empty_like(B), torch.empty_like(C)

    # Some rows of the state at a time: the states of all their tokens are kept for the way back.
    for rows in _group_rows(A, delta.numel()):
        walk = _Walk(delta, drive, A.T[rows], B[:, rows])
        states = walk.start().expand(len(delta) + 1, *walk.scratch.shape).clone()
        for j in walk.tokens:
            torch.mul(states[j], walk.decay(j), out=states[j + 1]).addcmul_(drive[j], walk.B[j])

        # Then backwards through the tokens of each chunk; `back` is the gradient of the state.
        back, of_A = walk.end(grad, C[:, rows]), torch.zeros_like(walk.scratch)
        for j in reversed(walk.tokens):
            d_C[j, rows] = (states[j + 1] * grad[j]).sum(-1)
            back.addcmul_(grad[j], C[j, rows, ..., None])  # of the state behind token j
            d_B[j, rows] = (back * drive[j]).sum(-1)
            d_drive[j] += (back * walk.B[j]).sum(0)
            back.mul_(walk.decay(j))  # of the state before it
            exponent = torch.mul(back, states[j], out=states[j + 1])  # the gradient of delta_j A
            of_A.addcmul_(exponent, delta[j])
            d_delta[j] += exponent.mul_(walk.A).sum(0)
        d_A.T[rows] = of_A.sum((1, 2))

    # Through drive = delta * u to both of its factors.
    d_delta, d_drive = _join_chunks(d_delta, length), _join_chunks(d_drive, length)
    d_B, d_C = (_join_chunks(x.movedim(1, -1), length) for x in (d_B, d_C))
    return d_drive * steps, d_delta + d_drive * u, d_A, d_B, d_C


def _split_chunks(x: Tensor) -> Tensor:
    """Return tokens (batch, length, n) as chunks (tokens, batch, chunks, n), filled with zeros.

    A step of zero keeps the state.
    """
    length = x.shape[1]
    tokens = min(LONGEST_CHUNK, 2 ** math.ceil(math.log2(length) / 2))  # the square root of it
    x = F.pad(x, (0, 0, 0, -length % tokens)) if length % tokens else x
    return x.reshape(len(x), -1, tokens, x.shape[2]).movedim(2, 0).contiguous()


def _join_chunks(x: Tensor, length: int) -> Tensor:
    """Return tokens of chunks: the inverse of `_split_chunks`."""
    return x.movedim(0, 2).flatten(1, 2)[:, :length]


def _split_by_row(x: Tensor) -> Tensor:
    """Return (batch, length, d_state) as chunks (tokens, d_state, batch, chunks)."""
    return _split_chunks(x).movedim(-1, 1).contiguous()


def _group_rows(A: Tensor, num_values: int) -> Iterator[slice]:
    """Yield the rows of the state, as many at once as have some number of values.

    Args:
        num_values: values of one row.
    """
    rows = max(1, VALUES_AT_ONCE // num_values)
    return (slice(first, first + rows) for first in range(0, A.shape[1], rows))
