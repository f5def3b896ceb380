import re
import sys
import time
import types

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.measure.cost import _ForwardWatch
from search_spaces.layers import selective_scan as module
from search_spaces.layers.selective_scan import run_kernel, selective_scan
from tests.search_spaces.layers.scans import operands, token_loop


def largest_error(found, wanted):
    """The largest difference, as a share of the largest value."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


@pytest.fixture(params=[2**21, 40])
def values_at_once(request, monkeypatch):
    """All rows of the state together, as usual, or some of them after the others, as with large
    images.
    """
    monkeypatch.setattr(module, "VALUES_AT_ONCE", request.param)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 31, 64, 97, 256, 1009])
def test_scan_equals_the_loop_over_tokens(length, values_at_once):
    given = operands(2, length, 3, 4, seed=length)
    assert largest_error(selective_scan(*given), token_loop(*given)) < 1e-12


@pytest.mark.parametrize("length", [1, 4, 37, 131])
def test_gradients_equal_those_of_the_loop(length, values_at_once):
    given = [x.requires_grad_() for x in operands(2, length, 3, 4, seed=length)]
    weights = torch.randn(2, length, 3, dtype=torch.float64)
    found = torch.autograd.grad((weights * selective_scan(*given)).sum(), given)
    wanted = torch.autograd.grad((weights * token_loop(*given)).sum(), given)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            ours, theirs, rtol=0, atol=1e-10 * max(1.0, theirs.abs().max().item())
        )


@pytest.mark.parametrize("length", [1, 7, 23])
def test_gradients_equal_finite_differences(length):
    given = [x.requires_grad_() for x in operands(2, length, 2, 3, seed=length)]
    assert torch.autograd.gradcheck(selective_scan, given)


def test_gradients_are_those_of_the_inputs_that_want_them():
    u, *rest = operands(1, 9, 2, 3)
    rest[1].requires_grad_()
    selective_scan(u, *rest).sum().backward()
    assert rest[1].grad.isfinite().all()
    assert u.grad is None
    assert not selective_scan(u, *(x.detach() for x in rest)).requires_grad


@pytest.mark.parametrize("decay", [0.0, 1e-4, 50.0, 1e5])
def test_states_that_never_fade_or_vanish_at_once_are_exact(decay):
    """No product of decays is divided by: the smallest of these is zero in floating point."""
    given = [x.requires_grad_() for x in operands(1, 2003, 2, 4, decay=decay)]
    found, wanted = selective_scan(*given), token_loop(*given)
    assert largest_error(found, wanted) < 1e-12
    for ours, theirs in zip(
        *(torch.autograd.grad(y.sum(), given) for y in (found, wanted)), strict=True
    ):
        assert ours.isfinite().all()
        torch.testing.assert_close(
            ours, theirs, rtol=0, atol=1e-10 * max(1.0, theirs.abs().max().item())
        )


def test_float32_is_as_exact_as_the_loop_in_float32():
    given = operands(1, 5000, 8, 16)
    wanted = token_loop(*given)
    short = [x.float() for x in given]
    error, loop_error = (
        largest_error(f(*short).double(), wanted) for f in (selective_scan, token_loop)
    )
    assert error < 2 * loop_error
    assert error < 2e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_floats_are_summed_in_float32(dtype):
    short = [x.to(dtype) for x in operands(1, 300, 4, 8)]
    out = selective_scan(*short)
    assert out.dtype == dtype
    torch.testing.assert_close(out, selective_scan(*(x.float() for x in short)).to(dtype))


def test_tokens_see_none_behind_them():
    u, *rest = operands(1, 100, 3, 4)
    before = selective_scan(u, *rest)
    u[:, 60:] = 7.0
    after = selective_scan(u, *rest)
    assert torch.equal(before[:, :60], after[:, :60])
    assert not torch.equal(before[:, 60:], after[:, 60:])


@pytest.mark.parametrize("train", [False, True])
def test_scan_counts_no_flops_and_runs_where_there_are_no_values(train):
    given = [x.to("meta").requires_grad_(train) for x in operands(2, 1000, 6, 4)]
    with FlopCounterMode(display=False) as counter:
        out = selective_scan(*given)
        if train:
            out.sum().backward()
    assert counter.get_total_flops() == 0
    assert out.shape == (2, 1000, 6)
    assert out.device.type == "meta"


@pytest.mark.parametrize(("train", "maps"), [(False, 4), (True, 12)])
def test_memory_is_linear_in_the_length_and_some_maps_large(train, maps, monkeypatch):
    """The states of all tokens would be 16 maps of the size of u.

    `u`, `delta` and the output are three more.
    """
    monkeypatch.setattr(module, "VALUES_AT_ONCE", 2**13)

    def peak_bytes(length):
        given = [x.float().to("meta").requires_grad_(train) for x in operands(1, length, 96, 16)]
        ledger = _ForwardWatch(given)
        with ledger:
            out = selective_scan(*given)
            if train:
                out.sum().backward()
        return ledger.peak_bytes

    least, most = peak_bytes(2**8), peak_bytes(2**10)
    assert most < 4 * least
    assert most < (3 + maps) * 4 * 2**10 * 96


def test_large_scan_is_faster_than_the_loop():
    """256x256 pixels, 96 channels, 16 states: 0.34 s on one core of a Xeon, by the loop 1.8 s."""
    given = [x.float() for x in operands(1, 2**14, 96, 16)]
    seconds = []
    for scan in (selective_scan, token_loop):
        before = time.process_time()
        with torch.no_grad():
            scan(*given)
        seconds.append(time.process_time() - before)
    assert seconds[0] < seconds[1]


def test_kernel_of_mamba_ssm_gets_its_own_layout_and_dtypes():
    """Its signature alone: where no GPU is, what it computes is stood in for."""

    def selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
        assert all(x.is_contiguous() for x in (u, delta, A, B, C, D))
        assert {x.dtype for x in (A, D)} == {torch.float32}
        assert len({x.dtype for x in (u, delta, B, C)}) == 1
        u, delta, B, C = (x.transpose(1, 2) for x in (u, delta, B, C))
        return token_loop(u, delta, A, B, C, D).transpose(1, 2)

    given = [x.float() for x in operands(2, 40, 3, 4)]
    torch.testing.assert_close(run_kernel(selective_scan_fn, *given), selective_scan(*given))


def test_kernel_is_found_where_the_package_is(monkeypatch):
    name = "mamba_ssm.ops.selective_scan_interface"
    fake = types.ModuleType(name)
    fake.selective_scan_fn = token_loop
    for interface, found in ((None, None), (fake, token_loop)):  # None: it cannot be imported
        monkeypatch.setitem(sys.modules, name, interface)
        module._mamba_ssm.cache_clear()
        assert module._mamba_ssm() is found
    module._mamba_ssm.cache_clear()


@pytest.mark.parametrize(
    ("changed", "shape", "message"),
    [
        (0, (2, 5), "scan: u must be (batch, length, channels), none of them 0, got (2, 5)"),
        (0, (2, 0, 3), "scan: u must be (batch, length, channels), none of them 0, got (2, 0, 3)"),
        (
            1,
            (2, 3, 5),
            "scan: delta must be (2, 5, 3) beside u (2, 5, 3) and 4 states, got (2, 3, 5)",
        ),
        (2, (4, 4), "scan: A must be (3, 4) beside u"),
        (3, (2, 4, 5), "scan: B must be (2, 5, 4) beside u"),
        (4, (2, 5, 1), "scan: C must be (2, 5, 4) beside u"),
        (5, (1,), "scan: D must be (3,) beside u"),
    ],
)
def test_shapes_that_do_not_fit_are_named(changed, shape, message):
    given = list(operands(2, 5, 3, 4))
    given[changed] = torch.zeros(shape)
    with pytest.raises(ValueError, match=re.escape(message)):
        selective_scan(*given)
