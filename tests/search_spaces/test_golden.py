"""Published networks against the outputs of the released code, and their released checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces import build, published
from search_spaces.official import load_official

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


@needs_reference
@pytest.mark.parametrize("letter", "abc")
@pytest.mark.parametrize(("name", "golden", "checkpoint"), NETWORKS)
def test_published_network_gives_the_released_output(name, golden, checkpoint, letter, one_thread):
    arrays = np.load(REFERENCE / "golden" / f"{golden}.npz")
    net = build(published(name)).eval()  # windows of channel attention are there in evaluation alone
    load_official(net, REFERENCE / "checkpoints" / checkpoint)
    with torch.no_grad():
        out = net(torch.from_numpy(arrays[f"in_{letter}"]))
    torch.testing.assert_close(out, torch.from_numpy(arrays[f"out_{letter}"]), rtol=0, atol=1e-5)


@needs_reference
def test_released_checkpoint_is_loaded_with_gradients_too(one_thread):
    """Activations overwrite their input only where no gradient is wanted."""
    arrays = np.load(REFERENCE / "golden" / "team00_SPAN.npz")
    net = build(published("span"))
    load_official(net, REFERENCE / "checkpoints" / "team00_SPAN.pth")
    out = net(torch.from_numpy(arrays["in_c"]))
    assert out.requires_grad
    torch.testing.assert_close(out.detach(), torch.from_numpy(arrays["out_c"]), rtol=0, atol=1e-5)
