"""Whole networks of benchmarks/gpu/gpu.py: SPANV2 through the runner over its plain form, timed in turn."""

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu.rows import Check, Figure, Given, Row, each
from benchmarks.gpu.timing import copy_gb_s, read_networks, tf32
from nas.deploy import Runner
from nas.measure.latency.sizes import CHALLENGE_SIZES
from nas.ops.fuse import fuse
from nas.ops.span_attention import span_attention
from nas.ops.span_attention.module import FusedLearnedPointwise
from search_spaces.checkpoints.official import load_official
from search_spaces.initialise import initial_network
from search_spaces.network import Network
from search_spaces.spec import ArchSpec, BlockSpec

TYPICAL, SMALL, LARGE = (339, 510), (256, 256), (1020, 2040)
FLOOR_BYTES = 790e6  # that step d of GPU.md moves at 339x510, the demand's measure
Upscaler = Callable[[Tensor], Tensor]


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
    block = BlockSpec.of(
        "spab", channels=channels, activation="silu", attention="parameter_free", bias=True
    )
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


def released(path: Path | None) -> dict[str, Tensor] | None:
    """The state of a released SPANV2, by our names; None without a file."""
    if path is None:
        return None
    net = network(spanv2()).cpu()
    load_official(net, path)
    state: dict[str, Tensor] = net.state_dict()
    return state


def with_fused_attention(net: Network) -> Network:
    """The network as released, its attention alone one operator: what the winner's entry is."""
    official = copy.deepcopy(net)
    for block in official.blocks.values():
        if hasattr(block, "attention"):
            twin = FusedLearnedPointwise(1)
            twin.conv = block.attention.conv
            block.attention = twin
    return official


def whole_networks(given: Given) -> Iterator[Row]:
    """SPANV2 through the runner over plain eager fp32 SPANV2 with the fused attention alone."""
    net = network(spanv2(), released(given.weights))
    official = with_fused_attention(net)

    def runner(precision: str, **options: object) -> Callable[[], Runner]:
        return lambda: Runner(net, precision=precision, share_output=True, **options)

    ways: dict[str, tuple[Callable[[], Upscaler], float | None, float | None]] = {
        "TF32 as a graph": (runner("tf32"), 0.45, 0.32),
        "fp16 as a graph": (runner("fp16"), 0.30, 0.20),
        "fp16 as a graph, no layer tried": (runner("fp16", trial={}), None, None),
        "TF32 by the runner without graphs": (runner("tf32", graphs=False), None, None),
        "fuse(net)": (lambda: fuse(net), None, None),
        "plain": (lambda: net, None, None),
    }
    tasks: dict[str, Callable[[], Iterator[Row]]] = {
        "agreement": lambda: iter([_agreement(net, official)])
    }
    tasks |= {word: lambda word=word: _over(word, *ways[word], official, TYPICAL) for word in ways}
    make_tf32, make_fp16 = ways["TF32 as a graph"][0], ways["fp16 as a graph"][0]
    tasks["small"] = lambda: _over("fp16 as a graph", make_fp16, 0.28, 0.18, official, SMALL)
    tasks["large"] = lambda: _over("fp16 as a graph", make_fp16, None, None, official, LARGE)
    tasks["large TF32"] = lambda: _over("TF32 as a graph", make_tf32, None, None, official, LARGE)
    tasks["size list, runner"] = lambda: _listed(
        "the runner", Runner(net, graphs=False), official, True
    )
    tasks["size list, fuse"] = lambda: _listed("fuse(net)", fuse(net), official, False)
    tasks["floor"] = lambda: _over_floor(make_tf32(), official)
    yield from each(tasks)


def _agreement(net: Network, official: Network) -> Check:
    """Whether what is timed computes the same."""
    image = torch.rand(1, 3, 61, 131, device="cuda")
    with torch.inference_mode():
        wanted = official(image)
    error = (
        (Runner(net, precision="tf32")(image) - wanted).abs().max() / wanted.abs().max()
    ).item()
    return Check(
        name="runner against the plain network",
        words=f"{error:.2g} of 0.005",
        is_wrong=not error <= 5e-3,
    )


def _over(
    word: str,
    make: Callable[[], Upscaler],
    demand: float | None,
    hoped: float | None,
    official: Network,
    size: tuple[int, int],
) -> Iterator[Figure]:
    candidate = make()
    image = torch.rand(1, 3, *size, device="cuda")
    with tf32(True):
        reading, clocks = read_networks(official, candidate, [(image, 1.0)])
    layers = _what_ran(candidate) if isinstance(candidate, Runner) else ""
    ours = f"{reading.candidate_ms:.3f} ms (host {reading.candidate_host_ms:.3f})"
    theirs = f"{reading.baseline_ms:.3f} ms (host {reading.baseline_host_ms:.3f})"
    yield Figure(
        name=f"SPANV2 {size[0]}x{size[1]}, {word}, over plain eager fp32 with the fused attention",
        value=reading.ratio,
        demand=demand,
        hoped=hoped,
        higher=False,
        low=reading.ratio_low,
        high=reading.ratio_high,
        sm_mhz=clocks,
        note=f"{ours} against {theirs}, {reading.rounds} rounds{layers}",
    )


def _what_ran(runner: Runner) -> str:
    """The layers of a runner, and what of it is not as its name says."""
    words = f", layers {runner.layers}"
    if runner.plain_parts:
        words += f", WITHOUT A KERNEL {sorted(runner.plain_parts)}"
    return words + (f", NO GRAPH: {runner.why_no_graph}" if runner.why_no_graph else "")


def _listed(
    word: str, candidate: Upscaler, official: Network, has_demand: bool
) -> Iterator[Figure]:
    """Called eagerly, fp32 in and out: the ratio of the means over the challenge's sizes."""
    total = sum(weight for _, _, weight in CHALLENGE_SIZES)
    images = [
        (torch.rand(1, 3, height, width, device="cuda"), weight / total)
        for height, width, weight in CHALLENGE_SIZES
    ]
    with tf32(True):
        reading, clocks = read_networks(official, candidate, images, max_seconds=3.0)
    yield Figure(
        name=f"SPANV2 eagerly by {word}, fp32 in and out, over the same, mean over the size list",
        value=reading.ratio,
        demand=0.75 if has_demand else None,
        hoped=0.5 if has_demand else None,
        higher=False,
        low=reading.ratio_low,
        high=reading.ratio_high,
        sm_mhz=clocks,
        note=f"host {reading.candidate_host_ms:.3f} of {reading.candidate_ms:.3f} ms",
    )


def _over_floor(candidate: Upscaler, official: Network) -> Iterator[Figure]:
    """Time of the graph over the time in which a copy moves step d's bytes."""
    image = torch.rand(1, 3, *TYPICAL, device="cuda")
    with tf32(True):
        reading, clocks = read_networks(official, candidate, [(image, 1.0)])
    floor_ms = FLOOR_BYTES / copy_gb_s(int(FLOOR_BYTES) // 8) / 1e6
    yield Figure(
        name="SPANV2 339x510 TF32 graph, over the byte floor of 790 MB at the copy's bandwidth",
        value=reading.candidate_ms / floor_ms,
        demand=1.8,
        hoped=1.4,
        higher=False,
        sm_mhz=clocks,
        note=f"{reading.candidate_ms:.3f} ms, floor {floor_ms:.3f} ms",
    )


def accuracy(given: Given) -> Iterator[Row]:
    """Errors against float64, relative to the largest value; the whole network in dB."""
    words = {"strict": (torch.float32, False, 1e-6), "TF32": (torch.float32, True, 5e-4)}
    words["fp16"] = (torch.float16, True, 5e-4)
    tasks = {word: lambda word=word: _operator_error(word, *words[word]) for word in words}
    state = released(given.weights)
    for precision, demand, hoped in (
        ("tf32", 69.0, None),
        ("fp16", 60.0, 66.0),
        ("fp32", None, None),
    ):
        tasks[precision] = lambda wanted=(precision, demand, hoped): _network_db(state, *wanted)
    yield from each(tasks)


def _operator_error(word: str, dtype: torch.dtype, switch: bool, demand: float) -> Iterator[Figure]:
    shapes = ((2, 32, 61, 75), (2, 32, 61, 75), (32, 32, 1, 1), (32,))
    given = [torch.randn(shape, device="cuda").to(dtype) for shape in shapes]
    x, f, weight, bias = (value.double() for value in given)
    wanted = (x + f) * F.conv2d(f, weight, bias)
    with tf32(switch), torch.no_grad():
        error = (span_attention(*given).double() - wanted).abs().max() / wanted.abs().max()
    name = f"span_attention {word}: error to float64"
    yield Figure(name=name, value=error.item(), demand=demand, higher=False, unit="")


def _network_db(
    state: dict[str, Tensor] | None, precision: str, demand: float | None, hoped: float | None
) -> Iterator[Figure]:
    image = torch.rand(1, 3, 120, 180, generator=torch.Generator().manual_seed(0)).to("cuda")
    image = F.interpolate(
        F.avg_pool2d(image, 6), scale_factor=6, mode="bilinear"
    )  # smooth, as photographs
    with torch.no_grad():
        target = network(spanv2(), state).double()(image.double())
    found = Runner(network(spanv2(), state), precision=precision)(image)
    error = (found.double() - target).square().mean().item()
    yield Figure(
        name=f"SPANV2 {precision} through the runner, PSNR to float64",
        value=-10 * math.log10(max(error, 1e-30)),
        demand=demand if state is not None or precision == "fp16" else None,
        hoped=hoped,
        unit="dB",
    )
