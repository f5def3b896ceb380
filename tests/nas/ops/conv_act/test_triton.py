"""The Triton kernel in its interpreter, against float64; buffers hold NaN and stand among canaries."""

from itertools import product
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from nas.ops import backend
from nas.ops.conv_act import ATTENTIONS, EPILOGUES, conv_act, op, reference
from nas.ops.conv_act import config as tilings
from nas.ops.conv_act import triton as launcher
from nas.ops.conv_act.config import Config
from nas.ops.conv_act.pixels import pixels_of
from nas.ops.conv_act.triton import launch, pack, precision_of
from nas.ops.fuse import fuse
from search_spaces import build, published
from search_spaces.checkpoints.official import load_official
from tests.nas.ops.conv_act.operands import guarded, in_double, operands, relative_error

pytestmark = pytest.mark.skipif(
    not backend.interpreting(), reason="TRITON_INTERPRET is not 1: see test_gpu"
)

LIMITS = {torch.float32: 1e-6, torch.float16: 5e-4}
CHANNELS = (3, 16, 20, 28, 32, 48, 52)
SHARED = Path(__file__).parents[5] / "shared"
CHECKPOINT = SHARED / "reference" / "checkpoints" / "team22_spanv2_c2.pth"


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Products of float32 as three of TF32: TF32 itself is test_rounding's."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def run(arguments, *, width=None, first=0):
    """Launch into a slice of a guarded buffer, on inputs that stand in NaN; give the slice."""
    x, weight, bias, epilogue, skip, gate_weight, gate_bias = arguments

    def placed(value):
        place, _ = guarded(
            value.shape, value.dtype, width=width and width + value.shape[1], first=first
        )
        return place.copy_(value)

    out, untouched = guarded(
        (x.shape[0], weight.shape[0], *x.shape[2:]),
        x.dtype,
        width=width and width + weight.shape[0],
        first=first,
    )
    launch(
        placed(x),
        pack(weight),
        bias,
        epilogue,
        out=out,
        skip=placed(skip) if skip is not None else None,
        gate_weight=pack(gate_weight) if gate_weight is not None else None,
        gate_bias=gate_bias,
    )
    assert untouched()
    return out


def check(arguments, **place):
    wanted = reference(*in_double(arguments))
    assert relative_error(run(arguments, **place), wanted) <= LIMITS[arguments[0].dtype]


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_every_epilogue(epilogue, dtype):
    check(operands(epilogue, cin=20, cout=28, batch=3, size=(5, 7), dtype=dtype))


@pytest.mark.parametrize(("cin", "cout"), list(product(CHANNELS, CHANNELS)))
def test_every_pair_of_channel_counts(cin, cout):
    epilogue = EPILOGUES[(7 * cin + cout) % len(EPILOGUES)]
    dtype = (torch.float32, torch.float16)[(cin + cout) // 4 % 2]
    check(operands(epilogue, cin=cin, cout=cout, batch=1, size=(3, 2), dtype=dtype))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (8, 16), (9, 17), (17, 23)])
def test_every_size(size, batch):
    dtype = (torch.float32, torch.float16)[(size[0] + batch) % 2]
    check(operands("conv1x1", cin=16, cout=16, batch=batch, size=size, dtype=dtype))


@pytest.mark.parametrize("kernel", [1, 5])
@pytest.mark.parametrize("dtype", LIMITS)
def test_other_odd_kernels(kernel, dtype):
    check(operands("silu", cin=20, cout=16, size=(5, 6), kernel=kernel, dtype=dtype))
    check(operands("relu", cin=3, cout=16, size=(5, 6), kernel=kernel, dtype=dtype))


@pytest.mark.parametrize("first", [0, 3, 8])  # 3: not even aligned to two elements
@pytest.mark.parametrize("dtype", LIMITS)
def test_slices_of_wider_maps_are_read_and_written_in_place(first, dtype):
    check(
        operands("conv1x1", cin=16, cout=12, batch=2, size=(3, 5), dtype=dtype),
        width=11,
        first=first,
    )


@pytest.mark.parametrize("size", [(1, 1), (4, 64), (5, 65), (9, 17)])
@pytest.mark.parametrize("epilogue", ["silu", "conv1x1"])
@pytest.mark.parametrize("height", [2, 4])
def test_the_form_by_rows(epilogue, size, height, monkeypatch):
    used = Config(form="rows", height=height, width=64, block_k=32, block_n=16, num_warps=4)
    monkeypatch.setattr(tilings, "default", lambda case: used)
    dtype = torch.float16 if height == 2 else torch.float32
    check(operands(epilogue, cin=20, cout=16, batch=2, size=size, dtype=dtype))


@pytest.mark.parametrize("form", ["tile", "loop"])
@pytest.mark.parametrize("block_k", [16, 64])
def test_channels_in_several_steps(block_k, form, monkeypatch):
    used = Config(form=form, height=2, width=16, block_k=block_k, block_n=32, num_warps=4)
    monkeypatch.setattr(tilings, "default", lambda case: used)
    check(operands("silu", cin=52, cout=48, size=(3, 5), dtype=torch.float32))


def test_an_infinite_or_undefined_value_stays_so():
    for epilogue in EPILOGUES:
        x, weight, *rest = operands(
            epilogue, cin=16, cout=16, batch=1, size=(1, 3), dtype=torch.float32
        )
        x[0, 0, 0, 1] = float("nan")
        assert run((x, weight, *rest)).isnan().all(), epilogue


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "crop"])
@pytest.mark.parametrize("dtype", LIMITS)
def test_an_image_is_normalised_before_it_is_padded(layout, dtype):
    image = torch.rand(2, 3, 9, 11)
    if layout == "NHWC":
        image = image.contiguous(memory_format=torch.channels_last)
    image = image[:, :, 1:8, 2:9] if layout == "crop" else image
    _, weight, bias, *_ = operands("relu", cin=3, cout=20, dtype=dtype)
    mean = torch.tensor((0.4488, 0.4371, 0.4040))
    out, untouched = guarded((2, 20, *image.shape[2:]), dtype)
    launch(image, pack(weight), bias, "relu", out=out, mean=mean)
    normalised = 255 * (image.double() - mean.double().view(1, 3, 1, 1))
    wanted = reference(normalised, weight.double(), bias.double(), "relu", None, None, None)
    assert relative_error(out, wanted) <= LIMITS[dtype]
    assert untouched()


@pytest.mark.parametrize("with_skip", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 3])
def test_pixel_shuffle_is_stored_as_an_image(scale, kernel, with_skip):
    dtype = torch.float16 if scale == 2 else torch.float32
    x, weight, bias, *_ = operands(
        "none", cin=20, cout=3 * scale**2, size=(9, 5), kernel=kernel, dtype=dtype
    )
    skip = torch.rand(2, 3, 9 * scale, 5 * scale) if with_skip else None
    out = torch.full((2, 3, 9 * scale, 5 * scale), float("nan"))
    x = x.contiguous(memory_format=torch.channels_last)
    launch(x, pack(weight), bias, "none", out=out, skip=skip, shuffle=scale)
    f = reference(*in_double((x, weight, bias)), "none", None, None, None)
    wanted = torch.pixel_shuffle(f, scale) + (skip.double() if with_skip else 0)
    assert relative_error(out, wanted) <= LIMITS[dtype]


SEPARABLE = [
    (dtype, kernel, scale, size)
    for kernel, scale in ((3, 4), (3, 0), (5, 2), (1, 3))
    for dtype in LIMITS
    for size in ((1, 1), (5, 17))  # blocks are 4 x 16
]
SEPARABLE.append((torch.float32, 3, 4, (9, 33)))  # one of the blocks has neighbours on all sides


@pytest.mark.parametrize(("dtype", "kernel", "scale", "size"), SEPARABLE)
def test_a_depthwise_convolution_comes_before_a_pointwise_one(dtype, kernel, scale, size):
    channels = 3 * scale**2 if scale else 20
    x, weight, bias, *_ = operands("none", cin=20, cout=channels, size=size, kernel=1, dtype=dtype)
    taps = torch.randn(kernel, kernel, 20, generator=torch.Generator().manual_seed(1))
    x = x.contiguous(memory_format=torch.channels_last)
    epilogue, out, untouched = "relu", *guarded((2, channels, *size), dtype)
    if scale:
        epilogue, out = "none", torch.full((2, 3, scale * size[0], scale * size[1]), float("nan"))
    launch(x, pack(weight), bias, epilogue, out=out, depth=taps, shuffle=scale)
    inner = torch.nn.functional.conv2d(
        x.double(), taps.double().permute(2, 0, 1)[:, None], padding=kernel // 2, groups=20
    )
    wanted = reference(inner, *in_double((weight, bias)), epilogue, None, None, None)
    wanted = torch.pixel_shuffle(wanted, scale) if scale else wanted
    assert relative_error(out, wanted) <= LIMITS[dtype]
    assert untouched() or scale


@pytest.mark.parametrize("form", ["tile", "loop", "rows"])
@pytest.mark.parametrize("reads", LIMITS)
@pytest.mark.parametrize("multiplies", LIMITS)
def test_maps_of_either_width_are_read_and_written(multiplies, reads, form, monkeypatch):
    used = Config(form=form, height=2, width=64, block_k=32, block_n=32, num_warps=4)
    monkeypatch.setattr(tilings, "default", lambda case: used)
    x, weight, bias, epilogue, skip, *gate = operands("conv1x1", cin=20, cout=28, size=(3, 5))
    x, skip = (value.to(reads).contiguous(memory_format=torch.channels_last) for value in (x, skip))
    weight, bias, *gate = (pack(value, multiplies) if value.dim() == 4 else value.to(multiplies)
                           for value in (weight, bias, *gate))  # fmt: skip
    wanted = reference(*in_double((x, weight, bias, epilogue, skip, *gate)))
    for writes in LIMITS:
        out, untouched = guarded((2, 28, 3, 5), writes)
        launch(
            x, weight, bias, epilogue, out=out, skip=skip, gate_weight=gate[0], gate_bias=gate[1]
        )
        assert relative_error(out, wanted) <= max(LIMITS[multiplies], LIMITS[writes])
        assert untouched()


def test_maps_by_pixel():
    whole = torch.zeros(2, 5, 4, 24).permute(0, 3, 1, 2)
    assert pixels_of(whole) == (whole, 24, 0)
    base, pitch, offset = pixels_of(whole[:, 6:10])
    assert (pitch, offset) == (24, 2)  # four channels are 16 bytes
    assert base.data_ptr() == whole.data_ptr() + 16
    assert pixels_of(torch.zeros(2, 3, 4, 5)) is None
    assert pixels_of(whole[:, :, ::2]) is None
    assert pixels_of(whole[:, :, :, 1:]) is None
    assert pixels_of(torch.zeros(1, 7, 1, 1)) is not None


@pytest.mark.parametrize(("allowed", "wanted"), [(True, "tf32"), (False, "tf32x3")])
def test_products_follow_the_switch_of_the_convolutions(allowed, wanted, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    assert precision_of(torch.float32) == wanted


@pytest.mark.parametrize("epilogue", ["silu", "conv1x1"])
def test_the_operator_runs_it_on_any_layout_and_with_gradients(epilogue):
    arguments = operands(epilogue, cin=5, cout=6, dtype=torch.float32)
    wanted = reference(*in_double(arguments))
    arguments[1].requires_grad_()
    with backend.using("triton"):
        out = conv_act(*arguments)
    assert relative_error(out.detach(), wanted) <= 1e-6
    (found,) = torch.autograd.grad(out.sum(), arguments[1])
    (known,) = torch.autograd.grad(reference(*arguments).sum(), arguments[1])
    torch.testing.assert_close(found, known)


def test_what_it_cannot_take_is_said():
    with (
        backend.using("triton"),
        pytest.raises(backend.BackendError, match=r"takes torch\.float32, torch.float16"),
    ):
        conv_act(*operands("relu"))
    wide = operands("conv1x1", cin=1, cout=65, size=(1, 1), dtype=torch.float32)
    with (
        backend.using("triton"),
        pytest.raises(backend.BackendError, match="65 channels does not fit one program; 64 do"),
    ):
        conv_act(*wide)
    assert set(ATTENTIONS) > {"conv1x1"}


class Broken:
    """A kernel whose launch fails as without a C compiler, or beyond a GPU's shared memory."""

    def __getitem__(self, grid):
        raise RuntimeError("out of resource: shared memory, Required: 131072")


def test_it_is_run_once_a_case_before_it_serves(monkeypatch):
    choice, cpu = op._CHOICE, torch.device("cpu")
    monkeypatch.setattr(choice, "reasons", {})
    monkeypatch.setattr(choice, "picked", {})
    for epilogue in EPILOGUES:
        assert (
            backend.why_not("triton", "conv_act", device=cpu, case=(20, torch.float16, epilogue))
            is None
        )
    assert backend.why_not("triton", "conv_act", device=cpu, case=(32, torch.float32)) is None
    with backend.using("triton"):
        assert op.backend_of(cpu, 16, torch.float32, "relu", in_channels=3, kernel=5) == "triton"
        monkeypatch.setattr(launcher, "conv_act_kernel", Broken())
        monkeypatch.setattr(launcher, "_launches", {})
        assert op.backend_of(cpu, 16, torch.float32, "relu", in_channels=3, kernel=5) == "triton"
        for changed in ({"in_channels": 20}, {"kernel": 1}, {"precision": "tf32x3"}):
            with pytest.raises(
                backend.BackendError, match=r"does not run .*out of resource: shared memory"
            ):
                op.backend_of(
                    cpu, 16, torch.float32, "relu", **({"in_channels": 3, "kernel": 5} | changed)
                )


@pytest.mark.skipif(not CHECKPOINT.exists(), reason=f"{CHECKPOINT} is not here")
def test_the_released_spanv2_with_its_attention_in_the_epilogue():
    net = build(published("spanv2")).eval()
    load_official(net, CHECKPOINT)
    image = torch.rand(1, 3, 9, 17, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.avg_pool2d(
        image, 5, 1, 2
    )  # noise itself drives this network out of its range
    fused = fuse(net, attention="epilogue")
    with torch.no_grad():
        wanted = net.double()(image.double())
        with backend.using("triton"):
            found = fused(image)
    assert relative_error(found, wanted) <= 1e-6


class Recording:
    """A kernel that only keeps how it was launched."""

    def __init__(self):
        self.options = []

    def __getitem__(self, grid):
        return lambda *tensors, **options: self.options.append(options)


@pytest.mark.parametrize(
    ("capability", "overlaps"), [(0, False), (86, False), (89, False), (90, True), (120, True)]
)
def test_only_launches_of_a_plan_overlap_and_only_where_the_gpu_can(
    capability, overlaps, monkeypatch
):
    recording = Recording()
    monkeypatch.setattr(launcher, "conv_act_kernel", recording)
    monkeypatch.setattr(launcher, "_read_capability", lambda device: capability)
    monkeypatch.setattr(launcher, "_launches", {})
    x, weight, *_ = operands("none", cin=16, cout=16, batch=1, size=(2, 2), dtype=torch.float32)
    for overlap in (False, True):
        launch(
            x,
            pack(weight),
            None,
            "none",
            out=torch.empty(1, 2, 2, 16).permute(0, 3, 1, 2),
            overlap=overlap,
        )
    assert [options["OVERLAP"] for options in recording.options] == [False, overlaps]
    assert [options.get("launch_pdl", False) for options in recording.options] == [False, overlaps]
