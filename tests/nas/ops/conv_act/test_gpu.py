"""On a GPU: the kernel against float64, no further from it than twice PyTorch's own convolutions are."""

import itertools

import pytest
import torch

from nas.ops import backend
from nas.ops.conv_act import EPILOGUES, conv_act, reference
from nas.ops.fuse import fuse
from search_spaces import build, published
from tests.nas.ops.conv_act.operands import in_double, operands, relative_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
]

LAST = torch.channels_last
LEAST = {torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 4e-3}  # allowed at least


@pytest.fixture(autouse=True)
def _triton():
    with backend.using("triton"), torch.no_grad():
        yield


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def check(arguments, least=None):
    wanted = reference(*in_double(arguments))
    plain = relative_error(reference(*arguments), wanted)
    out = conv_act(*arguments)
    assert out.is_contiguous(memory_format=LAST)
    assert relative_error(out, wanted) <= max(2 * plain, least or LEAST[arguments[0].dtype])


@pytest.mark.parametrize(
    "channels", [(3, 32), (16, 16), (20, 48), (28, 28), (32, 32), (48, 48), (52, 52)]
)
@pytest.mark.parametrize("dtype", LEAST)
def test_every_epilogue_and_size(dtype, channels, strict):
    options = {"cin": channels[0], "cout": channels[1], "dtype": dtype, "device": "cuda"}
    for epilogue, size, batch in itertools.product(EPILOGUES, [(1, 1), (5, 65), (33, 47)], [1, 3]):
        check(operands(epilogue, batch=batch, size=size, **options))


@pytest.mark.parametrize("epilogue", ["relu", "conv1x1", "parameter_free"])
def test_tf32_is_what_it_says(epilogue):
    assert torch.backends.cudnn.allow_tf32
    arguments = operands(
        epilogue, cin=32, cout=32, size=(40, 70), dtype=torch.float32, device="cuda"
    )
    check(arguments, least=5e-4)


def test_slices_layouts_and_packed_weights(strict):
    x, weight, *rest = operands(
        "conv1x1", cin=16, cout=28, size=(9, 70), dtype=torch.float32, device="cuda"
    )
    wanted = conv_act(x, weight, *rest)
    wide = torch.full((2, 45, 9, 70), float("nan"), device="cuda").contiguous(memory_format=LAST)
    for first in (0, 3, 8):
        wide[:, first : first + 16] = x
        assert torch.equal(conv_act(wide[:, first : first + 16], weight, *rest), wanted)
    x, weight = x.contiguous(memory_format=LAST), weight.contiguous(memory_format=LAST)
    assert torch.equal(conv_act(x, weight, *rest), wanted)


def test_a_map_of_more_elements_than_32_bits_count():
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("needs 24 GiB of free GPU memory")
    x = torch.zeros(1, 16, 8200, 16400, dtype=torch.float16, device="cuda").contiguous(
        memory_format=LAST
    )
    x[..., -40:] = torch.randn(1, 16, 8200, 40, device="cuda").half()
    _, weight, bias, *_ = operands("relu", cin=16, cout=16, dtype=torch.float16, device="cuda")
    found = conv_act(x, weight, bias, "relu")[..., -30:]
    wanted = reference(*in_double((x[..., -40:], weight, bias)), "relu", None, None, None)[
        ..., -30:
    ]
    assert relative_error(found, wanted) <= 5e-4


def test_it_is_captured_in_a_graph_and_repeats_bit_by_bit():
    arguments = operands(
        "conv1x1", cin=32, cout=32, size=(64, 96), dtype=torch.float16, device="cuda"
    )
    wanted = conv_act(*arguments)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = conv_act(*arguments)
    for _ in range(3):
        out.fill_(float("nan"))
        graph.replay()
        assert torch.equal(out, wanted)


def test_another_stream_and_another_size_follow_the_first():
    for size in ((30, 40), (30, 41), (31, 40)):
        arguments = operands("silu", cin=28, cout=28, size=size, dtype=torch.float16, device="cuda")
        first = conv_act(*arguments)
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            second = conv_act(*arguments)
        torch.cuda.synchronize()
        assert torch.equal(first, second)


@pytest.mark.parametrize("level", ["operator", "epilogue"])
@pytest.mark.parametrize("name", ["span", "spanf", "spanv2"])
def test_fused_networks(name, level, strict):
    torch.manual_seed(0)
    net = build(published(name)).eval().cuda()
    image = torch.rand(1, 3, 37, 70, device="cuda")
    fused = fuse(net, attention=level)
    with backend.using("auto"):
        found = fused(image)
    wanted = net.double()(image.double())
    assert found.is_contiguous()
    assert relative_error(found, wanted) <= 1e-5
    assert fused.upsampler.conv.weight.is_contiguous(memory_format=LAST)


def test_features_stay_channels_last():
    fused = fuse(build(published("span")).eval().cuda())
    seen = []

    def keep(module, args, out):
        if out.shape[1] == 28:
            seen.append(out)

    for module in fused.modules():
        module.register_forward_hook(keep)
    with backend.using("auto"):
        fused(torch.rand(1, 3, 20, 30, device="cuda"))
    assert len(seen) > 20
    assert all(out.is_contiguous(memory_format=LAST) for out in seen)


def test_what_the_fake_says_is_what_comes():
    arguments = operands("conv1x1", dtype=torch.float32, device="cuda")
    with torch.enable_grad():
        torch.library.opcheck(torch.ops.nas.conv_act.default, arguments)
