"""Published networks against the outputs of the released code, and their released checkpoints."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces import build, published
from search_spaces.checkpoints.official import load_official

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
NETWORKS = [
    ("span", "team00_SPAN", "team00_SPAN.pth"),
    ("spanf", "y2025_team24_SPANF", "y2025_team24_spanf.pth"),
    ("spanv2", "team22_SPANV2", "team22_spanv2_c2.pth"),
    ("pds", "team01_PDS", "team01_PDS.pth"),
    ("dscf_fused", "team15_DSCF_Fused", "team15_DSCF_Fused.pth"),
    ("rfdn_span", "team09_RFDN_SPAN", "team09_RFDN_SPAN.pth"),
    ("amcanet", "team17_AMCANet", "team17_AMCANet.pth"),
    ("zenosr", "team04_ZenoSR", "team04_ZenoSR.pth"),
]

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference outputs are not there: {REFERENCE}"
)


@pytest.fixture
def one_thread():
    """With one thread the sums run in the order of the released code."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tolerance(net, image, out):
    """1e-5 where the processor sums as that of the released outputs.

    Else what sums in any order allow.

    Images a and c are noise, on which SPAN's gates give values up to 80: there the released outputs
    are themselves up to 3e-3 from float64. What another order of the same sums changes is no error
    of a network.
    """
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        return 1e-5
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of Intel's GPUs
        with torch.backends.mkldnn.flags(enabled=False):
            other = net(image)
    return max(1e-5, 4 * float((other - out).abs().max()))


@needs_reference
@pytest.mark.parametrize("letter", "abc")
@pytest.mark.parametrize(("name", "golden", "checkpoint"), NETWORKS)
def test_published_network_gives_the_released_output(name, golden, checkpoint, letter, one_thread):
    arrays = np.load(REFERENCE / "golden" / f"{golden}.npz")
    net = build(
        published(name)
    ).eval()  # windows of channel attention are there in evaluation alone
    load_official(net, REFERENCE / "checkpoints" / checkpoint)
    image = torch.from_numpy(arrays[f"in_{letter}"])
    with torch.no_grad():
        out = net(image)
    atol = 1e-5 if letter == "b" else tolerance(net, image, out)  # b is a photograph
    torch.testing.assert_close(out, torch.from_numpy(arrays[f"out_{letter}"]), rtol=0, atol=atol)


@needs_reference
def test_released_checkpoint_is_loaded_with_gradients_too(one_thread):
    """Activations overwrite their input only where no gradient is wanted."""
    arrays = np.load(REFERENCE / "golden" / "team00_SPAN.npz")
    net = build(published("span"))
    load_official(net, REFERENCE / "checkpoints" / "team00_SPAN.pth")
    image = torch.from_numpy(arrays["in_c"])
    out = net(image)
    assert out.requires_grad
    out = out.detach()
    atol = tolerance(net, image, out)
    torch.testing.assert_close(out, torch.from_numpy(arrays["out_c"]), rtol=0, atol=atol)
