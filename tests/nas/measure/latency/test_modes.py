import pytest
import torch

from nas.measure.latency.modes import Setting, deploy
from search_spaces.initialise import initial_network
from tests.search_spaces.tiny import tiny_spec

SETTING = Setting(image=torch.rand(1, 3, 16, 16), num_sizes=1, threads=1, tf32=True)


def network():
    return initial_network(tiny_spec(), 0, SETTING.image, zero_output=False).eval()


def test_deploy_times_what_the_runner_would_run():
    assert set(deploy(network(), SETTING).layers) == {"float16"}
    net = network()
    with torch.no_grad():
        net.stem.weight.mul_(1e6)
        net.blocks["1"].conv1.weight.mul_(1e-6)
    assert deploy(net, SETTING).layers["float32"] >= 2


def test_a_network_that_does_not_stand_float16_has_no_deploy_latency():
    """RuntimeError: the trial fails alone."""
    net = network()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1e5)
    with pytest.raises(
        RuntimeError, match=r"^latency.mode=deploy: precision=fp16 is refused, .*use tf32$"
    ):
        deploy(net, SETTING)
