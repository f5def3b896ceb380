import functools

import pytest
import torch

from nas.deploy import Runner, plan
from nas.deploy.fastest import Fastest
from nas.deploy.runner import PRECISIONS
from nas.ops import backend
from nas.ops.products import products
from search_spaces import build, published
from search_spaces.initialise import initial_network
from tests.search_spaces.tiny import tiny_spec


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


BAD_IMAGES = {
    "uint8": (
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        r"be float32 in \[0, 1\], got uint8; .*float\(\) / 255",
    ),
    "half": (
        torch.zeros(1, 3, 8, 8).half(),
        r"be float32 in \[0, 1\], got float16; use image.float\(\)",
    ),
    "double": (torch.zeros(1, 3, 8, 8).double(), r"be float32 in \[0, 1\], got float64"),
    "grey": (torch.zeros(1, 1, 8, 8), r"be RGB \(N, 3, H, W\), got \(1, 1, 8, 8\)"),
    "alpha": (torch.zeros(1, 4, 8, 8), r"be RGB \(N, 3, H, W\), got \(1, 4, 8, 8\)"),
    "single": (torch.zeros(3, 8, 8), r"be RGB \(N, 3, H, W\), got \(3, 8, 8\); use image\[None\]"),
    "no image": (torch.zeros(0, 3, 8, 8), r"hold a pixel, got \(0, 3, 8, 8\)"),
    "no row": (torch.zeros(1, 3, 0, 8), r"hold a pixel, got \(1, 3, 0, 8\)"),
    "no column": (torch.zeros(1, 3, 8, 0), r"hold a pixel, got \(1, 3, 8, 0\)"),
    "elsewhere": (torch.zeros(1, 3, 8, 8, device="meta"), r"be on the runner's cpu, got meta"),
}


@functools.cache
def runner_of(precision):
    return Runner(network(), precision=precision, trial={})


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", BAD_IMAGES)
def test_an_image_that_is_none_gets_one_line_in_every_precision(name, precision):
    image, message = BAD_IMAGES[name]
    with pytest.raises(ValueError, match=rf"^image must {message}[^\n]*$"):
        runner_of(precision)(image)


def test_an_image_of_the_trial_is_checked_too():
    with pytest.raises(
        ValueError, match=r"^trial image 'mine' must be RGB \(N, 3, H, W\), got \(3, 8, 8\)"
    ):
        Runner(network(), precision="fp16", trial={"mine": torch.zeros(3, 8, 8)})


@pytest.mark.parametrize("precision", PRECISIONS)
def test_output_is_contiguous_whatever_the_strides_of_the_image(precision):
    image = torch.rand(2, 3, 12, 10)
    wanted = runner_of(precision)(image)
    flipped = image.transpose(2, 3).contiguous().transpose(2, 3)
    padded = torch.nn.functional.pad(image, (1, 2, 3, 4))[:, :, 3:-4, 1:-2]
    if precision != "fp16":  # of functions that the clock chooses between
        with torch.inference_mode():
            for function in runner_of(precision)._run.functions.values():
                assert function(image.contiguous(memory_format=torch.channels_last)).is_contiguous()
    for same in (image.contiguous(memory_format=torch.channels_last), flipped, padded):
        assert not same.is_contiguous()
        found = runner_of(precision)(same)
        assert found.is_contiguous()
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_network_of_another_precision_gets_one_line(dtype, precision, capfd):
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(
        ValueError,
        match=rf"^the network must be float32, stem.weight is {name}; use network.float\(\)$",
    ):
        Runner(network().to(dtype), precision=precision)
    assert not capfd.readouterr().err


def test_layers_are_counted_by_precision():
    net = network()
    with torch.no_grad():
        net.stem.weight.mul_(1e6)
        net.blocks["1"].conv1.weight.mul_(1e-6)
    runner = Runner(net, precision="fp16")
    assert runner.layers["float32"] == len(runner.faults) > 0
    assert sum(runner.layers.values()) == sum(runner_of("fp16").layers.values())
    assert set(runner_of("fp16").layers) == {"float16"}


SWITCHES = {
    "cudnn.conv": torch.backends.cudnn.conv,
    "cudnn.rnn": torch.backends.cudnn.rnn,
    "cudnn": torch.backends.cudnn,
    "cuda.matmul": torch.backends.cuda.matmul,
    "all": torch.backends,
}


@pytest.fixture(
    params=[(name, value) for name in SWITCHES for value in ("tf32", "ieee")], ids="=".join
)
def switched(request):
    """One of PyTorch's switches for float32 products, as a user may set it."""
    name, value = request.param
    before = SWITCHES[name].fp32_precision
    SWITCHES[name].fp32_precision = value
    yield SWITCHES[name], value
    SWITCHES[name].fp32_precision = before


def test_a_network_is_traced_whatever_the_switches_of_float32_products(switched):
    switch, value = switched
    net = network()
    plan.trace(net)
    for precision in ("tf32", "ieee"):
        with products(precision):  # as a runner on CUDA does
            plan.trace(net)
    assert switch.fp32_precision == value


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("switched", [("cudnn.conv", "ieee")], ids="=".join, indirect=True)
def test_a_runner_is_made_and_runs_under_switches_that_differ(switched, precision):
    net, image = network(), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        wanted = net(image)
    torch.testing.assert_close(
        Runner(net, precision=precision, trial={})(image), wanted, rtol=1e-2, atol=1e-2
    )


def test_a_network_with_a_scan_runs_at_every_size_without_a_plan(monkeypatch):
    monkeypatch.setattr(plan, "EXAMPLE", (2, 3, 4, 4))  # a scan is traced token by token
    net = network(tiny_spec(attention="mamba_gate", channels=4))
    runner = Runner(net)
    assert runner.steps == []
    assert runner.plain_parts["network"].startswith(
        "the network cannot be traced: Constraints violated"
    )
    for shape in ((1, 3, 4, 4), (2, 3, 9, 13)):  # 16 tokens, and 117
        image = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(runner.plan(image), net(image), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(runner(image), net(image), rtol=1e-5, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"^precision=fp16 is refused, the network cannot be .*; use tf32$"
    ):
        Runner(net, precision="fp16", trial={})


@pytest.mark.skipif(not backend.interpreting(), reason="TRITON_INTERPRET is not 1")
def test_float16_is_tried_under_a_backend_that_has_no_float64():
    """Under `auto` a GPU would warn of it with each runner."""
    with backend.using("triton"):
        runner = Runner(network(), precision="fp16", trial={"noise": torch.rand(1, 3, 5, 6)})
    assert set(runner.layers) == {"float16"}


@pytest.mark.parametrize("move", ["half", "double", "meta"])
def test_a_runner_that_is_moved_or_converted_says_so(move):
    runner = runner_of("tf32")
    message = r"^a runner stays where it was made, on cpu in its precision, got [^\n]*; make another: [^\n]*$"
    with pytest.raises(ValueError, match=message):
        runner.to(move) if move == "meta" else getattr(runner, move)()
    image = torch.rand(1, 3, 8, 8)
    assert runner.to("cpu").float().eval() is runner
    assert runner(image).dtype == torch.float32


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
    ("seconds", "chosen"),
    [((1.0, 0.5), "b"), ((1.0, 0.99), "a"), ((0.5, 1.0), "a"), ((1.0, 1.0), "a")],
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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_shared_output_is_right_until_the_next_call_of_any_shape():
    net = network(published("spanv2")).cuda()
    copied, shared = (Runner(net, share_output=share) for share in (False, True))
    images = [torch.rand(1, 3, *size, device="cuda") for size in ((31, 47), (64, 64), (17, 5))]
    wanted = [copied(image) for image in images]
    for _ in range(2):
        for image, one in zip(images, wanted, strict=True):
            torch.testing.assert_close(shared(image), one)
