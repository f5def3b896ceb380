"""Operands of conv_act for every epilogue, and buffers in which a stray access shows."""

import torch

from nas.ops.conv_act import ATTENTIONS, GATED

CANARY = 12345.0


def operands(
    epilogue,
    *,
    cin=4,
    cout=6,
    batch=2,
    size=(5, 4),
    kernel=3,
    dtype=torch.float64,
    device="cpu",
    seed=0,
):
    """The operator's arguments with values of unit size, rounded to the dtype."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(
            device, dtype
        )

    gate_shape = {"conv1x1": (cout, cout, 1, 1), "diagonal": (cout, 1, 1, 1)}.get(epilogue)
    return (
        normal(batch, cin, *size),
        normal(cout, cin, kernel, kernel, scale=(cin * kernel**2) ** -0.5),
        normal(cout),
        epilogue,
        normal(batch, cout, *size) if epilogue in ATTENTIONS else None,
        normal(*gate_shape, scale=gate_shape[1] ** -0.5) if gate_shape else None,
        normal(cout) if epilogue in GATED else None,
    )


def in_double(arguments):
    return [value.double() if isinstance(value, torch.Tensor) else value for value in arguments]


def guarded(shape, dtype, *, width=None, first=0, fill=float("nan"), device="cpu"):
    """A map (N, C, H, W) of `fill`: channels `first` on of a channels_last map `width` wide, canaries around.

    Returns:  the map, and a function that says whether everything else is still as it was.
    """
    count, channels, height, columns = shape
    width = width or channels
    pixels, guard = count * height * columns, 64
    storage = torch.full((pixels * width + 2 * guard,), CANARY, dtype=dtype, device=device)
    whole = (
        storage[guard : guard + pixels * width]
        .view(count, height, columns, width)
        .permute(0, 3, 1, 2)
    )
    part = whole[:, first : first + channels]
    part.fill_(fill)
    before = storage.clone()

    def untouched():
        now = part.clone()
        part.fill_(fill)
        same = torch.equal(storage.nan_to_num(7.0), before.nan_to_num(7.0))
        part.copy_(now)
        return same

    return part, untouched


def relative_error(found, wanted):
    """Over the whole map, to the size of what is wanted; NaN where anything is."""
    return ((found.double() - wanted).norm() / wanted.norm()).item()
