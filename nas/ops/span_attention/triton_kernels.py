"""The attentions' Triton kernels: tiles of (pixels, channels), every map with strides of its own.

A program takes a block of pixels of one image and a block of output channels, and walks over the
blocks of input channels, of which there is one up to 64 channels. Sums are kept in float32. There
are no atomics: results repeat bit by bit.
"""

import triton
import triton.language as tl


@triton.jit
def _locate_pixels(num_pixels, PIXELS: tl.constexpr):
    """Return the image of this program, and the pixels of its block."""
    blocks = tl.cdiv(num_pixels, PIXELS)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    return image, (tl.program_id(0) % blocks) * PIXELS + tl.arange(0, PIXELS)


@triton.jit
def _offset_pixels(image, c, p, by_image, by_channel, by_pixel):
    return (
        image * by_image + p.to(tl.int64)[:, None] * by_pixel + c.to(tl.int64)[None, :] * by_channel
    )


@triton.jit
def _load_weight(weight, rows, columns, by_row, by_column, num_channels):
    """Load a tile (rows, columns) of the matrix; with strides exchanged, of its transpose.

    Outside it is zero.
    """
    inside = (rows < num_channels)[:, None] & (columns < num_channels)[None, :]
    return tl.load(
        weight + rows[:, None] * by_row + columns[None, :] * by_column, mask=inside, other=0.0
    )


@triton.jit
def _multiply_tiles(a, b, acc, PRECISION: tl.constexpr, INTERPRET: tl.constexpr):
    if INTERPRET:  # the interpreter multiplies the raw bits of bfloat16
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@triton.jit
def forward(
    x, f, weight, bias, out, num_channels, num_pixels,
    x_image, x_channel, x_pixel, f_image, f_channel, f_pixel, out_image, out_channel, out_pixel,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr, BLOCKS: tl.constexpr,
    PRECISION: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Compute out = (x + f) * (W f + b)."""
    image, p = _locate_pixels(num_pixels, PIXELS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (p < num_pixels)[:, None] & (c < num_channels)[None, :]
    here_f = tl.load(
        f + _offset_pixels(image, c, p, f_image, f_channel, f_pixel), mask=inside, other=0.0
    )
    here_x = tl.load(
        x + _offset_pixels(image, c, p, x_image, x_channel, x_pixel), mask=inside, other=0.0
    )
    gate = tl.zeros((PIXELS, CHANNELS), tl.float32)

    # Up to 64 channels the features are loaded once, for the sum and the product.
    if BLOCKS == 1:
        gate = _multiply_tiles(
            here_f,
            _load_weight(weight, c, c, 1, num_channels, num_channels),
            gate,
            PRECISION,
            INTERPRET,
        )
    else:
        for block in range(BLOCKS):
            k = block * CHANNELS + tl.arange(0, CHANNELS)
            inside_k = (p < num_pixels)[:, None] & (k < num_channels)[None, :]
            a = tl.load(
                f + _offset_pixels(image, k, p, f_image, f_channel, f_pixel),
                mask=inside_k,
                other=0.0,
            )
            gate = _multiply_tiles(
                a,
                _load_weight(weight, k, c, 1, num_channels, num_channels),
                gate,
                PRECISION,
                INTERPRET,
            )

    gate += tl.load(bias + c, mask=c < num_channels, other=0.0).to(tl.float32)[None, :]
    value = (here_x.to(tl.float32) + here_f.to(tl.float32)) * gate
    tl.store(
        out + _offset_pixels(image, c, p, out_image, out_channel, out_pixel), value, mask=inside
    )


@triton.jit
def data(
    grad, x, f, weight, bias, dx, df, num_channels, num_pixels,
    g_image, g_channel, g_pixel, x_image, x_channel, x_pixel, f_image, f_channel, f_pixel,
    dx_image, dx_channel, dx_pixel, df_image, df_channel, df_pixel,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr, BLOCKS: tl.constexpr,
    PRECISION: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Compute dx = grad * (W f + b) and df = dx + W^T (grad * (x + f))."""
    image, p = _locate_pixels(num_pixels, PIXELS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (p < num_pixels)[:, None] & (c < num_channels)[None, :]
    gate = tl.zeros((PIXELS, CHANNELS), tl.float32)
    back = tl.zeros((PIXELS, CHANNELS), tl.float32)
    here_g = tl.load(
        grad + _offset_pixels(image, c, p, g_image, g_channel, g_pixel), mask=inside, other=0.0
    )
    here_g = here_g.to(tl.float32)

    # Two products of the same tiles: the gate from f, and its gradient by way of W^T.
    if BLOCKS == 1:
        a = tl.load(
            f + _offset_pixels(image, c, p, f_image, f_channel, f_pixel), mask=inside, other=0.0
        )
        b = tl.load(
            x + _offset_pixels(image, c, p, x_image, x_channel, x_pixel), mask=inside, other=0.0
        )

        a = a.to(tl.float32)
        dgate = here_g * (a + b.to(tl.float32))
        there = _load_weight(weight, c, c, 1, num_channels, num_channels).to(tl.float32)
        gate = _multiply_tiles(a, there, gate, PRECISION, INTERPRET)
        back = _load_weight(weight, c, c, num_channels, 1, num_channels).to(tl.float32)
        back = _multiply_tiles(
            dgate, back, tl.zeros((PIXELS, CHANNELS), tl.float32), PRECISION, INTERPRET
        )
    else:
        for block in range(BLOCKS):
            k = block * CHANNELS + tl.arange(0, CHANNELS)
            inside_k = (p < num_pixels)[:, None] & (k < num_channels)[None, :]
            a = tl.load(
                f + _offset_pixels(image, k, p, f_image, f_channel, f_pixel),
                mask=inside_k,
                other=0.0,
            )
            b = tl.load(
                x + _offset_pixels(image, k, p, x_image, x_channel, x_pixel),
                mask=inside_k,
                other=0.0,
            )
            g = tl.load(
                grad + _offset_pixels(image, k, p, g_image, g_channel, g_pixel),
                mask=inside_k,
                other=0.0,
            )

            a = a.to(tl.float32)
            dgate = g.to(tl.float32) * (a + b.to(tl.float32))
            there = _load_weight(weight, k, c, 1, num_channels, num_channels).to(tl.float32)
            gate = _multiply_tiles(a, there, gate, PRECISION, INTERPRET)
            there = _load_weight(weight, k, c, num_channels, 1, num_channels).to(tl.float32)
            back = _multiply_tiles(dgate, there, back, PRECISION, INTERPRET)

    gate += tl.load(bias + c, mask=c < num_channels, other=0.0).to(tl.float32)[None, :]
    value = here_g * gate
    tl.store(dx + _offset_pixels(image, c, p, dx_image, dx_channel, dx_pixel), value, mask=inside)
    tl.store(
        df + _offset_pixels(image, c, p, df_image, df_channel, df_pixel), value + back, mask=inside
    )


@triton.jit
def weights(
    grad, x, f, dweight, dbias, num_channels, num_pixels, num_blocks,
    g_image, g_channel, g_pixel, x_image, x_channel, x_pixel, f_image, f_channel, f_pixel,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr, PRECISION: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Compute a share of dW = sum (grad * (x + f)) f^T and db = sum grad * (x + f).

    dweight is (programs, C, C) and dbias (programs, C), float32. Axis 0 of the grid shares out the
    blocks of pixels, axis 1 has blocks of output channels, axis 2 of input channels.
    """
    o = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    i = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    share = tl.program_id(0).to(tl.int64)

    # A share is a sum over all its blocks, kept in registers to the end.
    dw = tl.zeros((CHANNELS, CHANNELS), tl.float32)
    db = tl.zeros((CHANNELS,), tl.float32)

    # Programs take every num_programs-th block, so that each has as much as the others.
    blocks = tl.cdiv(num_pixels, PIXELS)
    for block in range(tl.program_id(0), num_blocks, tl.num_programs(0)):
        image = (block // blocks).to(tl.int64)
        p = (block % blocks) * PIXELS + tl.arange(0, PIXELS)

        inside = (p < num_pixels)[:, None] & (o < num_channels)[None, :]
        g = tl.load(
            grad + _offset_pixels(image, o, p, g_image, g_channel, g_pixel), mask=inside, other=0.0
        )
        b = tl.load(
            x + _offset_pixels(image, o, p, x_image, x_channel, x_pixel), mask=inside, other=0.0
        )
        a = tl.load(
            f + _offset_pixels(image, o, p, f_image, f_channel, f_pixel), mask=inside, other=0.0
        )
        dgate = g.to(tl.float32) * (b.to(tl.float32) + a.to(tl.float32))

        # The product is over pixels: (outputs, pixels) by (pixels, inputs).
        inside_i = (p < num_pixels)[:, None] & (i < num_channels)[None, :]
        a = tl.load(
            f + _offset_pixels(image, i, p, f_image, f_channel, f_pixel), mask=inside_i, other=0.0
        )
        dw = _multiply_tiles(tl.trans(dgate), a.to(tl.float32), dw, PRECISION, INTERPRET)
        db += tl.sum(dgate, axis=0)

    inside = (o < num_channels)[:, None] & (i < num_channels)[None, :]
    where = share * num_channels * num_channels + o[:, None] * num_channels + i[None, :]
    tl.store(dweight + where, dw, mask=inside)
    if tl.program_id(2) == 0:
        tl.store(dbias + share * num_channels + o, db, mask=o < num_channels)


@triton.jit
def parameter_free(
    x, f, out, num_channels, num_pixels,
    x_image, x_channel, x_pixel, f_image, f_channel, f_pixel, out_image, out_channel, out_pixel,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Compute out = (x + f) * (sigmoid(f) - 0.5)."""
    image, p = _locate_pixels(num_pixels, PIXELS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (p < num_pixels)[:, None] & (c < num_channels)[None, :]
    a = tl.load(
        f + _offset_pixels(image, c, p, f_image, f_channel, f_pixel), mask=inside, other=0.0
    ).to(tl.float32)
    b = tl.load(
        x + _offset_pixels(image, c, p, x_image, x_channel, x_pixel), mask=inside, other=0.0
    ).to(tl.float32)
    value = (b + a) * (tl.sigmoid(a) - 0.5)
    tl.store(
        out + _offset_pixels(image, c, p, out_image, out_channel, out_pixel), value, mask=inside
    )


@triton.jit
def parameter_free_back(
    grad, x, f, dx, df, num_channels, num_pixels,
    g_image, g_channel, g_pixel, x_image, x_channel, x_pixel, f_image, f_channel, f_pixel,
    dx_image, dx_channel, dx_pixel, df_image, df_channel, df_pixel,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Compute dx = grad * (s - 0.5) and df = dx + grad * (x + f) * s * (1 - s), s = sigmoid(f)."""
    image, p = _locate_pixels(num_pixels, PIXELS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (p < num_pixels)[:, None] & (c < num_channels)[None, :]
    g = tl.load(
        grad + _offset_pixels(image, c, p, g_image, g_channel, g_pixel), mask=inside, other=0.0
    ).to(tl.float32)
    a = tl.load(
        f + _offset_pixels(image, c, p, f_image, f_channel, f_pixel), mask=inside, other=0.0
    ).to(tl.float32)
    b = tl.load(
        x + _offset_pixels(image, c, p, x_image, x_channel, x_pixel), mask=inside, other=0.0
    ).to(tl.float32)
    s = tl.sigmoid(a)
    value = g * (s - 0.5)
    tl.store(dx + _offset_pixels(image, c, p, dx_image, dx_channel, dx_pixel), value, mask=inside)
    value += g * (b + a) * s * (1.0 - s)
    tl.store(df + _offset_pixels(image, c, p, df_image, df_channel, df_pixel), value, mask=inside)
