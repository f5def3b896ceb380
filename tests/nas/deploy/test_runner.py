import pytest
import torch

from nas.deploy import Runner
from nas.deploy.fastest import Fastest
from search_spaces import build, published
from search_spaces.initialise import initial_network
from tests.nas.train.proxies import tiny_spec


def network(spec=None, seed=0):
    spec = spec or tiny_spec(num_blocks=2, taps="all", channels=12)
    return initial_network(spec, seed, torch.rand(1, 3, 16, 16), zero_output=False).eval()


@pytest.mark.parametrize("precision", ["tf32", "fp32"])
def test_runner_gives_what_the_network_gives(precision):
    net = network()
    runner = Runner(net, precision=precision)
    for shape in ((1, 3, 7, 9), (2, 3, 16, 12), (1, 3, 7, 9)):
        image = torch.rand(shape)
        with torch.no_grad():
            wanted = net(image)
        found = runner(image)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        assert found.is_contiguous()


def test_training_form_is_folded_first():
    spec = published("span")
    net = build(spec, train=True)
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        wanted = net(image)
    torch.testing.assert_close(Runner(net)(image), wanted, rtol=1e-4, atol=1e-4)


def test_runner_leaves_the_network_as_it_was():
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    Runner(net, precision="fp16", trial={})(torch.rand(1, 3, 8, 8))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert next(net.parameters()).requires_grad


def test_layers_without_a_kernel_are_listed_with_the_reason():
    assert set(Runner(build(published("spanv2"))).plain_parts) == {"fusion", "skip"}
    assert "groups" in Runner(build(published("spanv2"))).plain_parts["fusion"]


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision 'int8' is not known; known: tf32, fp16, fp32"):
        Runner(network(), precision="int8")


class Clock:
    """Seconds that pass only where a function says so."""

    now = 0.0

    def __call__(self):
        return self.now

    def taking(self, seconds):
        def function(image):
            self.now += seconds
            return image

        return function


@pytest.mark.parametrize(
    ("seconds", "chosen"), [((1.0, 0.5), "b"), ((1.0, 0.99), "a"), ((0.5, 1.0), "a"), ((1.0, 1.0), "a")]
)
def test_the_first_function_runs_unless_another_is_clearly_faster(seconds, chosen):
    clock = Clock()
    fastest = Fastest({"a": clock.taking(seconds[0]), "b": clock.taking(seconds[1])}, clock=clock)
    fastest(torch.zeros(1, 3, 4, 4))
    assert set(fastest.chosen.values()) == {chosen}
    before = clock.now
    fastest(torch.zeros(1, 3, 4, 4))
    assert clock.now - before == dict(zip("ab", seconds, strict=True))[chosen]  # tried once a shape
    fastest(torch.zeros(1, 3, 5, 4))
    assert len(fastest.chosen) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("precision", ["tf32", "fp16", "fp32"])
@pytest.mark.parametrize("graphs", [True, False])
def test_runner_on_a_gpu_is_as_exact_as_its_precision(precision, graphs):
    net = network(published("spanv2"))
    runner = Runner(net.cuda(), precision=precision, graphs=graphs, trial={}, num_graphs=2)
    exact = network(published("spanv2")).double()
    for shape in ((1, 3, 31, 47), (2, 3, 64, 64), (1, 3, 17, 5), (1, 3, 31, 47)):
        image = torch.rand(shape)
        with torch.no_grad():
            wanted = exact(image.double())
        error = (runner(image.cuda()).cpu() - wanted).abs().max() / wanted.abs().max()
        assert error <= {"fp32": 1e-5, "tf32": 5e-3, "fp16": 5e-3}[precision]
