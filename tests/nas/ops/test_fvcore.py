"""fvcore, with the operators' handles, counts a fused network as the plain one."""

import logging
import subprocess
import sys

import pytest
import torch

from nas.ops.fuse import fuse
from nas.ops.fvcore import activation_handles, flop_handles
from search_spaces import build, published
from tests.nas.measure.networks import random_spec

NETWORKS = ["span", "spanf", "spanv2", *range(6)]


@pytest.mark.parametrize("level", ["operator", "epilogue"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_fvcore_counts_the_same(network, level):
    import fvcore.nn  # scripts a function on import, which warns

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    net = build(published(network) if isinstance(network, str) else random_spec(network)).eval()
    fused, image = fuse(net, attention=level), torch.rand(1, 3, 12, 10)
    with torch.no_grad():
        for analysis, handles in (
            (fvcore.nn.FlopCountAnalysis, flop_handles()),
            (fvcore.nn.ActivationCountAnalysis, activation_handles()),
        ):
            known = analysis(fused, image).uncalled_modules_warnings(False).set_op_handle(**handles)
            plain = analysis(net, image).unsupported_ops_warnings(False)
            assert known.total() == plain.total() > 0
            assert not any(name.startswith("nas::") for name in known.unsupported_ops())


def test_the_handles_need_no_fvcore():
    code = "import sys; sys.modules['fvcore'] = None; from nas.ops.fvcore import flop_handles; flop_handles()"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
