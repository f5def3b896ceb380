"""The figures of benchmarks/gpu.py: each is measured as a ratio in one run, on fresh random inputs."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from gpu_timing import copy_gb_s, eager_ms, num_sets, pair_ms
from torch import Tensor
from torch.nn import functional as F

from nas.deploy import Runner
from nas.measure.latency.sizes import CHALLENGE_SIZES
from nas.ops import backend
from nas.ops.conv_act import conv_act
from nas.ops.fuse import fuse
from nas.ops.span_attention import parameter_free_attention, span_attention
from nas.ops.span_attention.module import FusedLearnedPointwise
from search_spaces.initialise import initial_network
from search_spaces.network import Network
from search_spaces.spec import ArchSpec, BlockSpec

TYPICAL = (339, 510)
CHANNELS_LAST = torch.channels_last


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `demand` is met from above where `higher`, else from below."""

    name: str
    value: float
    demand: float | None = None
    hoped: float | None = None
    higher: bool = True
    unit: str = "x"
    note: str = ""


def spanv2(channels: int = 32, blocks: int = 5) -> ArchSpec:
    """SPANV2 as in search_spaces/networks/spanv2.yaml, without the YAML reader."""
    shared = {"channels": channels, "activation": "relu", "bias": False}
    return ArchSpec(
        scale=4,
        normalise=False,
        skip=BlockSpec.of("near", kernel=3, bias=False),
        blocks=(
            BlockSpec.of("conv_stack", activate_last=True, **shared),
            *[BlockSpec.of("spab", attention="conv1x1", **shared)] * (blocks - 1),
        ),
        taps=("skip", f"block{blocks}"),
        fusion=BlockSpec.of("depthwise", kernel=3, bias=False),
        upsampler=BlockSpec.of("pixel_shuffle", kernel=1, bias=False),
        train_form=BlockSpec.of("conv3xc", gain=2),
    )


def span(channels: int = 28, blocks: int = 6) -> ArchSpec:
    """SPAN as in search_spaces/networks/span.yaml, of any width and depth."""
    conv = BlockSpec.of("conv", channels=channels, kernel=3, bias=True)
    block = BlockSpec.of("spab", channels=channels, activation="silu", attention="parameter_free", bias=True)
    return ArchSpec(
        scale=4,
        normalise=True,
        stem=conv,
        blocks=(*[block] * blocks, conv),
        taps=("stem", f"block{blocks + 1}", "block1", f"block{blocks}.inner"),
        fusion=BlockSpec.of("conv", channels=channels, kernel=1, bias=True),
        upsampler=BlockSpec.of("pixel_shuffle", kernel=3, bias=True),
        train_form=BlockSpec.of("conv3xc", gain=2),
    )


def network(spec: ArchSpec, state: dict[str, Tensor] | None = None) -> Network:
    """On the GPU where there is one, with weights as given or random ones of unit-size features."""
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = initial_network(spec, 0, image, zero_output=False)
    if state is not None:
        found.load_state_dict(state)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return found.to(device).eval().requires_grad_(False)


def random(*shape: int, dtype: torch.dtype = torch.float32, last: bool = False) -> Tensor:
    value = torch.randn(shape, device="cuda", dtype=torch.float32).to(dtype)
    return value.contiguous(memory_format=CHANNELS_LAST) if last else value


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision
    cudnn.conv.fp32_precision = "tf32" if on else "ieee"
    try:
        yield
    finally:
        cudnn.conv.fp32_precision = before


def attention_against_eager(names: tuple[str, ...]) -> list[Figure]:
    """Fused op against conv1x1, add, multiply, in TF32 as the harness runs them, cold."""
    figures = []
    for name, channels in itertools.product(names, (32, 48)):
        sets = [
            (random(1, channels, *TYPICAL), random(1, channels, *TYPICAL))
            for _ in range(num_sets(12 * channels * TYPICAL[0] * TYPICAL[1]))
        ]
        weight, bias = random(channels, channels, 1, 1), random(channels)
        with backend.using(name), tf32(True), torch.no_grad():
            fused = [lambda x=x, f=f: span_attention(x, f, weight, bias) for x, f in sets]
            eager = [lambda x=x, f=f: (x + f) * F.conv2d(f, weight, bias) for x, f in sets]
            slow, fast, ratio = pair_ms(eager, fused)
        figures.append(
            Figure(
                name=f"span_attention ({name}), 1x{channels}x339x510 fp32, cold, over conv1x1 + add + mul",
                value=ratio,
                demand=2.8 if channels == 32 else None,
                hoped=3.3 if channels == 32 else None,
                note=f"{1e3 * fast:.1f} us against {1e3 * slow:.1f} us",
            )
        )
    return figures


def attention_bandwidth(names: tuple[str, ...]) -> list[Figure]:
    """Bytes that have to move (three maps) a second, over those of a copy."""
    figures = []
    dtypes = ((torch.float32, "fp32"), (torch.float16, "fp16"))
    cases = itertools.product(names, (32, 64), dtypes, ((2048, 2048), TYPICAL), (False, True))
    for name, channels, (dtype, word), (height, width), last in cases:
        num_bytes = 3 * channels * height * width * dtype.itemsize
        sets = [
            (random(1, channels, height, width, dtype=dtype, last=last) for _ in range(2))
            for _ in range(num_sets(num_bytes))
        ]
        pairs = [tuple(pair) for pair in sets]
        weight, bias = random(channels, channels, 1, 1, dtype=dtype), random(channels, dtype=dtype)
        with backend.using(name), torch.no_grad():
            calls = [lambda x=x, f=f: span_attention(x, f, weight, bias) for x, f in pairs]
            milliseconds, _, _ = pair_ms(calls, calls, rounds=5)
        ratio = num_bytes / milliseconds / 1e6 / copy_gb_s(num_bytes)
        large = height == 2048
        figures.append(
            Figure(
                name=f"bandwidth of span_attention ({name}), {channels}x{height}x{width} {word} "
                f"{'channels_last' if last else 'NCHW'}, over copy",
                value=ratio,
                demand=0.80 if large else 0.65,
                hoped=0.92 if large else 0.80,
                note=f"{num_bytes / milliseconds / 1e6:.0f} GB/s",
            )
        )
    return figures


def attention_training() -> list[Figure]:
    """Forward and backward against eager autograd, and the memory that is kept between them."""
    channels, figures = 32, []
    for word, fused, eager in (
        ("span_attention", span_attention, lambda x, f, w, b: (x + f) * F.conv2d(f, w, b)),
        (
            "parameter_free_attention",
            lambda x, f, w, b: parameter_free_attention(x, f),
            lambda x, f, w, b: (x + f) * (torch.sigmoid(f) - 0.5),
        ),
    ):
        weight = random(channels, channels, 1, 1).requires_grad_()
        bias = random(channels).requires_grad_()
        x, f = (random(8, channels, 128, 128).requires_grad_() for _ in range(2))
        grad = torch.randn_like(x)
        wanted = [x, f] + ([weight, bias] if word == "span_attention" else [])

        def train(forward: Callable[..., Tensor], given: tuple[Any, ...] = (x, f, weight, bias)) -> Any:
            return torch.autograd.grad(forward(*given), wanted, grad)

        def kept(forward: Callable[..., Tensor], given: tuple[Any, ...] = (x, f, weight, bias)) -> int:
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            out = forward(*given)
            found = torch.cuda.memory_allocated() - before
            del out
            return found

        with tf32(True):
            slow, fast = eager_ms(lambda: train(eager)), eager_ms(lambda: train(fused))
            figures.append(
                Figure(
                    name=f"{word} forward and backward, 8x32x128x128 fp32, over eager autograd",
                    value=slow / fast,
                    demand=2.0,
                    hoped=2.7,
                    note=f"{fast:.3f} ms against {slow:.3f} ms",
                )
            )
            figures.append(
                Figure(
                    name=f"{word}: memory kept for the backward pass, the result included, over eager",
                    value=kept(fused) / max(1, kept(eager)),
                    demand=0.55,
                    higher=False,
                )
            )
    return figures


def conv_act_against_cudnn() -> list[Figure]:
    """3x3, 32 channels, ReLU: against the better of cuDNN's layouts followed by the activation."""
    figures = []
    cases = ((torch.float16, "fp16", 1.3, 1.8), (torch.float32, "TF32", None, None))
    for (dtype, word, demand, hoped), channels in itertools.product(cases, (32, 28, 48)):
        num_bytes = 2 * channels * TYPICAL[0] * TYPICAL[1] * dtype.itemsize
        images = [random(1, channels, *TYPICAL, dtype=dtype, last=True) for _ in range(num_sets(num_bytes))]
        planes = [image.contiguous() for image in images]
        weight, bias = random(channels, channels, 3, 3, dtype=dtype), random(channels, dtype=dtype)
        rows = weight.contiguous(memory_format=CHANNELS_LAST)
        with tf32(True), torch.no_grad():
            fused = [lambda x=x: conv_act(x, rows, bias, "relu") for x in images]  # as ConvAct holds it
            last = [lambda x=x: F.relu_(F.conv2d(x, rows, bias, padding=1)) for x in images]
            first = [lambda x=x: F.relu_(F.conv2d(x, weight, bias, padding=1)) for x in planes]
            found = [pair_ms(plain, fused) for plain in (last, first)]
        slow, fast, ratio = min(found, key=lambda one: one[2])
        figures.append(
            Figure(
                name=f"conv_act 3x3 ReLU, {channels} channels {word} 339x510, over cuDNN's better layout",
                value=ratio,
                demand=demand if channels == 32 else None,
                hoped=hoped if channels == 32 else None,
                note=f"{1e3 * fast:.1f} us against {1e3 * slow:.1f} us",
            )
        )
    return figures


def whole_networks(state: dict[str, Tensor] | None) -> list[Figure]:
    """SPANV2 through the runner over plain eager fp32 SPANV2 with the fused attention alone."""
    net = network(spanv2(), state)
    official = with_fused_attention(net)
    image = torch.rand(1, 3, *TYPICAL, device="cuda")
    figures = []
    with tf32(True), torch.inference_mode():
        base = eager_ms(lambda: official(image))
    for precision, word, demand, hoped in (("tf32", "TF32", 0.45, 0.32), ("fp16", "fp16", 0.30, 0.20)):
        runner = Runner(net, precision=precision, share_output=True)
        spent = eager_ms(lambda r=runner: r(image))
        figures.append(
            Figure(
                name=f"SPANV2 339x510, {word} as a graph, over plain eager fp32 with the fused attention",
                value=spent / base,
                demand=demand,
                hoped=hoped,
                higher=False,
                note=f"{spent:.3f} ms against {base:.3f} ms, layers {runner.layers}",
            )
        )
    untried = Runner(net, precision="fp16", trial={}, share_output=True)
    figures.append(
        Figure(
            name="the same, every layer in fp16, which photographs alone allow",
            value=eager_ms(lambda: untried(image)) / base,
            higher=False,
            note=f"layers {untried.layers}",
        )
    )
    small = torch.rand(1, 3, 256, 256, device="cuda")
    with tf32(True), torch.inference_mode():
        base = eager_ms(lambda: official(small))
    runner = Runner(net, precision="fp16", share_output=True)
    figures.append(
        Figure(
            name="SPANV2 256x256, fp16 as a graph, over the same",
            value=eager_ms(lambda: runner(small)) / base,
            demand=0.28,
            hoped=0.18,
            higher=False,
        )
    )
    return [*figures, *_eagerly(net, official), _over_floor(net)]


def _eagerly(net: Network, official: Network) -> list[Figure]:
    """Called eagerly, fp32 in and out: weighted mean of the ratios over the challenge's sizes."""
    runner, copied = Runner(net, graphs=False), fuse(net)
    candidates: dict[str, Callable[[Tensor], Tensor]] = {"the runner": runner, "fuse(net)": copied}
    figures = []
    total = sum(weight for _, _, weight in CHALLENGE_SIZES)
    for word, candidate in candidates.items():
        mean = 0.0
        for height, width, weight in CHALLENGE_SIZES:
            image = torch.rand(1, 3, height, width, device="cuda")
            with tf32(True), torch.inference_mode():
                ratio = eager_ms(lambda: candidate(image), repeats=10) / eager_ms(
                    lambda: official(image),
                    repeats=10,
                )
            mean += weight / total * ratio
        figures.append(
            Figure(
                name=f"SPANV2 eagerly by {word}, fp32 in and out, over the same, mean over the size list",
                value=mean,
                demand=0.75 if word == "the runner" else None,
                hoped=0.5 if word == "the runner" else None,
                higher=False,
            )
        )
    return figures


def _over_floor(net: Network) -> Figure:
    """Time of the graph over the time in which a copy moves step d's bytes (GPU.md: 790 MB at 339x510)."""
    floor_bytes = 790e6
    runner = Runner(net, precision="tf32", share_output=True)
    image = torch.rand(1, 3, *TYPICAL, device="cuda")
    milliseconds = eager_ms(lambda: runner(image))
    floor = floor_bytes / copy_gb_s(int(floor_bytes) // 8) / 1e6
    return Figure(
        name="SPANV2 339x510 TF32 graph, over the byte floor of 790 MB at the copy's bandwidth",
        value=milliseconds / floor,
        demand=1.8,
        hoped=1.4,
        higher=False,
        note=f"{milliseconds:.3f} ms, floor {floor:.3f} ms",
    )


def with_fused_attention(net: Network) -> Network:
    """The network as released, its attention alone one operator: what the winner's entry is."""
    official = copy.deepcopy(net)
    for block in official.blocks.values():
        if hasattr(block, "attention"):
            twin = FusedLearnedPointwise(1)
            twin.conv = block.attention.conv
            block.attention = twin
    return official


def accuracy(state: dict[str, Tensor] | None) -> list[Figure]:
    """Errors against float64, relative to the largest value; the whole network in dB."""
    figures = []
    x, f = random(2, 32, 61, 75), random(2, 32, 61, 75)
    weight, bias = random(32, 32, 1, 1), random(32)
    exact = (x + f).double() * F.conv2d(f.double(), weight.double(), bias.double())
    for word, dtype, switch, demand in (
        ("strict", torch.float32, False, 1e-6),
        ("TF32", torch.float32, True, 5e-4),
        ("fp16", torch.float16, True, 5e-4),
    ):
        with tf32(switch), torch.no_grad():
            given = [value.to(dtype) for value in (x, f, weight, bias)]
            if dtype != torch.float32:
                g = [value.double() for value in given]
                wanted = (g[0] + g[1]) * F.conv2d(g[1], g[2], g[3])
            else:
                wanted = exact
            error = (span_attention(*given).double() - wanted).abs().max() / wanted.abs().max()
        figures.append(
            Figure(
                name=f"span_attention {word}: error to float64",
                value=error.item(),
                demand=demand,
                higher=False,
                unit="",
            )
        )
    net = network(spanv2(), state)
    wanted = net.double()
    image = torch.rand(1, 3, 120, 180, device="cuda")
    image = F.interpolate(F.avg_pool2d(image, 6), scale_factor=6, mode="bilinear")  # smooth, as photographs
    with torch.no_grad():
        target = wanted(image.double())
    net = network(spanv2(), state)
    for precision, demand, hoped in (("tf32", None, None), ("fp16", 60.0, 66.0), ("fp32", None, None)):
        found = Runner(net, precision=precision)(image)
        error = (found.double() - target).square().mean().item()
        figures.append(
            Figure(
                name=f"SPANV2 {precision} through the runner, PSNR to float64",
                value=math.inf if error == 0 else 10 * math.log10(1 / error),
                demand=demand,
                hoped=hoped,
                unit="dB",
            )
        )
    return figures


def worst_profile() -> str:
    """Kernel times of SPANV2's runner without a graph, as PyTorch's profiler lists them."""
    runner = Runner(network(spanv2()), graphs=False)
    image = torch.rand(1, 3, *TYPICAL, device="cuda")
    for _ in range(5):
        runner(image)
    activities = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(10):
            runner(image)
        torch.cuda.synchronize()
    return profile.key_averages().table(sort_by="cuda_time_total", row_limit=25, max_name_column_width=60)
