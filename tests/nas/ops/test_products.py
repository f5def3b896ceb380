"""Switches of float32 products: they agree inside, and stand afterwards as they did."""

import pytest
import torch

from nas.ops.products import products

BACKENDS = torch.backends
SWITCHES = {
    "general": BACKENDS,
    "cudnn": BACKENDS.cudnn,
    "conv": BACKENDS.cudnn.conv,
    "rnn": BACKENDS.cudnn.rnn,
    "matmul": BACKENDS.cuda.matmul,
    "cpu matmul": BACKENDS.mkldnn.matmul,
}
USUAL = {"general": "none", "cudnn": "none", "conv": "tf32", "rnn": "tf32", "matmul": "none",
         "cpu matmul": "none"}  # fmt: skip


def reset():
    """PyTorch's own state."""
    BACKENDS.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")
    for name, value in USUAL.items():
        SWITCHES[name].fp32_precision = value


@pytest.fixture(autouse=True)
def _usual():
    reset()
    yield
    reset()


def read(call):
    try:
        return call()
    except RuntimeError:
        return "mixed"


def state():
    """What every switch says."""
    old = (lambda: BACKENDS.cudnn.allow_tf32), torch.get_float32_matmul_precision
    return [switch.fp32_precision for switch in SWITCHES.values()] + [read(call) for call in old]


STATES = {
    "usual": lambda: None,
    "old off": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
    "old high": lambda: torch.set_float32_matmul_precision("high"),
    "old medium": lambda: torch.set_float32_matmul_precision("medium"),
} | {
    f"{name} {value}": lambda name=name, value=value: setattr(SWITCHES[name], "fp32_precision", value)
    for name in SWITCHES
    for value in ("tf32", "ieee", "none")
}  # fmt: skip


@pytest.mark.parametrize("precision", ["tf32", "ieee"])
@pytest.mark.parametrize("name", STATES)
def test_switches_agree_inside_and_stand_as_before_afterwards(name, precision):
    STATES[name]()
    before = state()
    with products(precision):
        for switch in ("cudnn", "conv", "rnn", "matmul"):
            assert SWITCHES[switch].fp32_precision == precision
        assert BACKENDS.cudnn.allow_tf32 == BACKENDS.cuda.matmul.allow_tf32 == (precision == "tf32")
        assert torch.get_float32_matmul_precision() == (
            "high" if precision == "tf32" else "highest"
        )
    assert state() == before


@pytest.mark.parametrize("name", STATES)
def test_what_followed_the_general_switch_follows_it_still(name):
    STATES[name]()
    BACKENDS.fp32_precision = "tf32"
    wanted = state()
    BACKENDS.fp32_precision = "none"
    with products("ieee"):
        pass
    BACKENDS.fp32_precision = "tf32"
    assert state() == wanted


@pytest.mark.parametrize("old", ["highest", "high", "medium"])
@pytest.mark.parametrize("allowed", [True, False])
def test_old_switches_that_cannot_be_read_are_kept_too(allowed, old):
    BACKENDS.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision(old)
    BACKENDS.cudnn.conv.fp32_precision = "ieee" if allowed else "tf32"
    BACKENDS.cuda.matmul.fp32_precision = "tf32" if old == "highest" else "ieee"
    assert "mixed" in state()
    with products("tf32"):
        pass
    BACKENDS.cudnn.conv.fp32_precision = "tf32" if allowed else "none"
    BACKENDS.cuda.matmul.fp32_precision = "none" if old == "highest" else "tf32"
    assert BACKENDS.cudnn.allow_tf32 == allowed
    assert torch.get_float32_matmul_precision() == old


def test_a_trace_leaves_them_too():
    """torch.export keeps what it reads, which may be that of a switch above."""
    BACKENDS.fp32_precision = "tf32"
    with products("ieee"):
        torch.export.export(torch.nn.ReLU(), (torch.zeros(1),))
    BACKENDS.fp32_precision = "none"
    assert state() == (reset(), state())[1]


def test_switches_stand_as_before_after_an_error():
    BACKENDS.cudnn.conv.fp32_precision = "ieee"
    before = state()
    with pytest.raises(KeyError), products("tf32"):
        raise KeyError
    assert state() == before
