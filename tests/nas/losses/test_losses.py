"""Every loss: its definition, its gradient, and what it refuses."""

import pytest
import torch
from torch.nn import functional as F

from nas.losses.base import weight_at
from nas.losses.edges import Gradient, Laplacian
from nas.losses.frequency import FFT
from nas.losses.pixel import L1, MSE, Charbonnier
from nas.losses.structure import SSIM

LOSSES = {
    "l1": L1(weight=1.0),
    "mse": MSE(weight=1.0),
    "charbonnier": Charbonnier(weight=1.0, epsilon=1e-3),
    "fft": FFT(weight=1.0, norm="ortho", parts="complex"),
    "fft backward": FFT(weight=1.0, norm="backward", parts="complex"),
    "fft modulus": FFT(weight=1.0, norm="ortho", parts="modulus"),
    "gradient": Gradient(weight=1.0, rho="absolute"),
    "gradient square": Gradient(weight=1.0, rho="square"),
    "laplacian": Laplacian(weight=1.0),
    "ssim": SSIM(weight=1.0),
}


def draw_images(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(shape, generator=generator, dtype=dtype) for _ in range(2)]


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradient_is_that_of_finite_differences(loss):
    output, target = draw_images(1, 3, 12, 13)
    output.requires_grad_()
    assert torch.autograd.gradcheck(loss, (output, target))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_equal_images_give_no_loss_and_a_finite_gradient(loss):
    output, _ = draw_images(2, 3, 16, 16, dtype=torch.float32)
    moved = output.clone().requires_grad_()
    value = loss(moved, output)
    value.backward()
    # Charbonnier's smallest value is its epsilon.
    assert value.item() == pytest.approx(getattr(loss, "epsilon", 0.0), abs=1e-6)
    assert moved.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_shapes_that_would_broadcast_are_refused(loss):
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3, 16, 16\) and \(1, 3, 16, 16\)"):
        loss(torch.rand(2, 3, 16, 16), torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_half_floats_give_a_loss_near_the_exact_one(loss):
    output, target = draw_images(1, 3, 32, 32, dtype=torch.float32)
    coarse = loss(output.bfloat16(), target.bfloat16())
    assert coarse.item() == pytest.approx(loss(output, target).item(), rel=0.05)


def transform_slowly(x):
    """The Fourier sum over height and width, for the columns that rfft2 gives."""
    height, width = x.shape[-2:]
    rows = torch.exp(
        -2j * torch.pi * torch.outer(torch.arange(height), torch.arange(height)) / height
    )
    columns = torch.exp(
        -2j * torch.pi * torch.outer(torch.arange(width), torch.arange(width)) / width
    )
    spectrum = rows.to(torch.complex128) @ x.to(torch.complex128) @ columns.to(torch.complex128)
    return spectrum[..., : width // 2 + 1]


@pytest.mark.parametrize("norm", ["ortho", "backward"])
@pytest.mark.parametrize("parts", ["complex", "modulus"])
def test_fft_is_its_definition(norm, parts):
    output, target = draw_images(2, 3, 6, 7)
    divisor = (6 * 7) ** 0.5 if norm == "ortho" else 1.0
    d = (transform_slowly(output) - transform_slowly(target)) / divisor
    wanted = (
        d.abs().mean() if parts == "modulus" else (d.real.abs().mean() + d.imag.abs().mean()) / 2
    )
    found = FFT(weight=1.0, norm=norm, parts=parts)(output, target)
    torch.testing.assert_close(found, wanted)


def test_laplacian_is_the_convolution_with_its_kernel():
    output, target = draw_images(2, 3, 9, 8)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
    kernel = kernel.expand(3, 1, 3, 3)
    wanted = F.l1_loss(F.conv2d(output, kernel, groups=3), F.conv2d(target, kernel, groups=3))
    torch.testing.assert_close(Laplacian(weight=1.0)(output, target), wanted)


@pytest.mark.parametrize(("rho", "power"), [("absolute", 1), ("square", 2)])
def test_gradient_compares_neighbouring_pixels(rho, power):
    output, target = draw_images(1, 3, 5, 6)
    d = output - target
    across = [(d[..., i, j + 1] - d[..., i, j]).abs() ** power for i in range(5) for j in range(5)]
    down = [(d[..., i + 1, j] - d[..., i, j]).abs() ** power for i in range(4) for j in range(6)]
    wanted = torch.stack(across).mean() + torch.stack(down).mean()
    torch.testing.assert_close(Gradient(weight=1.0, rho=rho)(output, target), wanted)


def test_ssim_is_scikit_image_s():
    from skimage.metrics import structural_similarity

    output, target = draw_images(1, 3, 24, 25)
    wanted = structural_similarity(
        output[0].permute(1, 2, 0).numpy(),
        target[0].permute(1, 2, 0).numpy(),
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1]
    # Its borders are padded; ours are left out.
    inner = wanted[5:-5, 5:-5].mean()
    assert 1 - SSIM(weight=1.0)(output, target).item() == pytest.approx(inner, abs=1e-6)


def test_a_list_of_weights_is_a_line_between_its_values():
    assert [weight_at([0.0, 0.5, 0.0], share) for share in (-1, 0, 0.1, 0.5, 0.9, 1, 2)] == (
        pytest.approx([0, 0, 0.1, 0.5, 0.1, 0, 0])
    )
    assert weight_at([0.3], 0.7) == weight_at(0.3, 0.7) == 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L1(weight=-1.0), "L1: weight must be at least 0"),
        (lambda: MSE(weight=[]), "MSE: weight must be at least 0, or a list of such numbers"),
        (lambda: FFT(weight=[0, -0.1], norm="ortho", parts="complex"), "FFT: weight must be"),
        (lambda: Charbonnier(weight=1.0, epsilon=0.0), "epsilon must be above 0, got 0"),
        (
            lambda: SSIM(weight=1.0)(torch.rand(1, 3, 8, 16), torch.rand(1, 3, 8, 16)),
            "at least 11x11",
        ),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()
