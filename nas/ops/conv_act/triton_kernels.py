"""The Triton kernel of conv_act: a convolution over channels_last maps as products of matrices.

A program computes BLOCK_H x BLOCK_W pixels of BLOCK_N channels of one map. Maps are addressed by
pixel: PITCH elements from a pixel to the next, OFFSET to the first. Both are known when compiling,
so that accesses are as wide as the channel count allows, also into a slice of a wider map. Five
forms compute the sums:

image: few channels, any strides; all taps of all channels are one row of one product.
tile:  one product a tap, of all pixels of the block; the next tap is loaded meanwhile.
loop:  the same in a loop, one tap after the other, where `tile` would not fit the registers.
rows:  one row of pixels at a time, read once a column of taps, for the three rows around it.
separable: a depthwise convolution of BLOCK_K channels, summed in registers, is an operand of one
       product.
"""

import os

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")


@triton.jit
def _round_to_tf32(f, ROUND: tl.constexpr):
    """Round float32 to the nearest value of TF32, whose further bits tensor cores would cut off.

    NaN stays NaN.
    """
    if ROUND:
        if INTERPRETED:  # the interpreter knows no assembler
            bits = tl.where(f == f, f.to(tl.int32, bitcast=True) + 0x1000, 0x7FFFFFFF)
        else:
            bits = tl.inline_asm_elementwise(
                "cvt.rna.tf32.f32 $0, $1;", "=r,r", [f], dtype=tl.int32, is_pure=True, pack=1
            )
        # The instruction leaves the 13 bits below undefined.
        f = (bits & -0x2000).to(tl.float32, bitcast=True)
    return f


@triton.jit
def _apply_activation(f, NAME: tl.constexpr):
    """Apply an activation by its name in the blocks; comparisons are such that NaN stays NaN."""
    if NAME == "relu":
        f = tl.where(f < 0, 0.0, f)
    elif NAME == "silu":
        f = f / (1 + tl.exp(-f))
    elif NAME == "leaky_relu":
        f = tl.where(f > 0, f, 0.05 * f)
    elif NAME == "leaky_relu_0.1":
        f = tl.where(f > 0, f, 0.1 * f)
    elif NAME == "hardswish":
        f = f * (tl.minimum(tl.maximum(f + 3, 0.0), 6.0) / 6)
    elif NAME == "gelu":
        f = 0.5 * f * (1 + tl.erf(f * 0.7071067811865476))
    return f


@triton.jit
def _load_vector(vector, channels, COUT: tl.constexpr):
    return tl.load(vector + channels, mask=channels < COUT, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _load_pixels(
    x, rows, columns, pixels, H, W, dy, dx, first,
    CIN: tl.constexpr, BLOCK_K: tl.constexpr, PITCH: tl.constexpr,
):  # fmt: skip
    """Load BLOCK_K channels from `first` on of the pixels dy rows down and dx columns right.

    Outside of the map they are zero.
    """
    rows = rows + dy
    columns = columns + dx
    pixels = pixels + (dy * W + dx)

    # A mask over channels takes registers: it is left out where they fill their block.
    k = first + tl.arange(0, BLOCK_K)
    mask = ((rows >= 0) & (rows < H) & (columns >= 0) & (columns < W))[:, None]
    if CIN % BLOCK_K != 0:
        mask = mask & (k < CIN)[None, :]
    return tl.load(x + pixels[:, None] * PITCH + k[None, :], mask=mask, other=0.0)


@triton.jit
def _load_weight(
    weight, tap, first, channels, TAPS: tl.constexpr, CIN: tl.constexpr, COUT: tl.constexpr,
    BLOCK_K: tl.constexpr,
    ROUND: tl.constexpr,
):  # fmt: skip
    """Load a tap of BLOCK_K input channels from `first` on, as (BLOCK_K, channels).

    The weight is (COUT, TAPS, CIN).
    """
    k = first + tl.arange(0, BLOCK_K)
    mask = (channels < COUT)[:, None]
    if CIN % BLOCK_K != 0:
        mask = mask & (k < CIN)[None, :]
    at = weight + (channels * TAPS + tap)[:, None] * CIN + k[None, :]
    return tl.trans(_round_to_tf32(tl.load(at, mask=mask, other=0.0), ROUND))


@triton.jit
def _sum_image(
    image, weight, mean, n, rows, columns, channels, H, W, stride_n, stride_c, stride_h, stride_w,
    CIN: tl.constexpr, COUT: tl.constexpr, KERNEL: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
    ROUND_WEIGHT: tl.constexpr,
):  # fmt: skip
    """Sum by the form `image`; with a mean, the image is normalised as a network does it.

    The padding is zero after that, so that no bias could stand for the mean.
    """
    # The weight is (COUT, KERNEL, KERNEL, CIN): channels change fastest along a row of taps.
    k = tl.arange(0, BLOCK_K)
    channel = k % CIN
    tap = k // CIN
    y = rows[:, None] + (tap // KERNEL - KERNEL // 2)[None, :]
    x = columns[:, None] + (tap % KERNEL - KERNEL // 2)[None, :]

    # Strides may be any, so offsets of a large image need 64 bits.
    inside = (y >= 0) & (y < H) & (x >= 0) & (x < W) & (k < CIN * KERNEL * KERNEL)[None, :]
    at = (
        n.to(tl.int64) * stride_n
        + y.to(tl.int64) * stride_h
        + (x * stride_w + (channel * stride_c)[None, :])
    )
    a = tl.load(image + at, mask=inside, other=0.0)
    if mean is not None:
        a = tl.where(inside, 255.0 * (a - tl.load(mean + channel)[None, :]), 0.0)

    b = _load_weight(weight, 0, 0, channels, 1, CIN * KERNEL * KERNEL, COUT, BLOCK_K, ROUND_WEIGHT)
    a = _round_to_tf32(a.to(b.dtype), (PRECISION == "tf32") & (b.dtype == tl.float32))
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _sum_tiles(
    x, weight, rows, columns, pixels, channels, H, W,
    CIN: tl.constexpr, COUT: tl.constexpr, KERNEL: tl.constexpr, PITCH: tl.constexpr,
    LOOP: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
    ROUND_X: tl.constexpr, ROUND_WEIGHT: tl.constexpr,
):  # fmt: skip
    """Sum by the form `tile`, or by `loop` where LOOP."""
    TAPS: tl.constexpr = KERNEL * KERNEL
    STEPS: tl.constexpr = (CIN + BLOCK_K - 1) // BLOCK_K * TAPS
    HALF: tl.constexpr = KERNEL // 2
    f = tl.zeros((rows.shape[0], BLOCK_N), tl.float32)

    # A step is one tap of BLOCK_K channels; all taps of some channels come before the next ones.
    if LOOP:
        for step in range(STEPS):
            tap = step % TAPS
            k = step // TAPS * BLOCK_K
            a = _load_pixels(x, rows, columns, pixels, H, W, tap // KERNEL - HALF,
                             tap % KERNEL - HALF, k,
                             CIN, BLOCK_K, PITCH)  # fmt: skip
            b = _load_weight(weight, tap, k, channels, TAPS, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
            f = tl.dot(_round_to_tf32(a.to(b.dtype), ROUND_X), b, f, input_precision=PRECISION)
    else:
        # Unrolled: the pixels of the next step are loaded before this step's product.
        coming = _load_pixels(x, rows, columns, pixels, H, W, -HALF, -HALF, 0, CIN, BLOCK_K, PITCH)
        for step in tl.static_range(STEPS):
            a = coming
            b = _load_weight(weight, step % TAPS, step // TAPS * BLOCK_K, channels, TAPS, CIN,
                             COUT, BLOCK_K,
                             ROUND_WEIGHT)  # fmt: skip
            if step + 1 < STEPS:
                coming = _load_pixels(x, rows, columns, pixels, H, W,
                                      (step + 1) % TAPS // KERNEL - HALF,
                                      (step + 1) % KERNEL - HALF,
                                      (step + 1) // TAPS * BLOCK_K, CIN, BLOCK_K,
                                      PITCH)  # fmt: skip
            f = tl.dot(_round_to_tf32(a.to(b.dtype), ROUND_X), b, f, input_precision=PRECISION)
    return f


@triton.jit
def _sum_separable(
    x, depth, weight, rows, columns, pixels, channels, H, W,
    CIN: tl.constexpr, COUT: tl.constexpr, KERNEL: tl.constexpr, PITCH: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
    ROUND_WEIGHT: tl.constexpr,
):  # fmt: skip
    """Sum by the form `separable`; depth is (KERNEL, KERNEL, CIN), weight (COUT, CIN)."""
    f = tl.zeros((rows.shape[0], BLOCK_N), tl.float32)
    for step in range((CIN + BLOCK_K - 1) // BLOCK_K):
        k = step * BLOCK_K + tl.arange(0, BLOCK_K)
        a = tl.zeros((rows.shape[0], BLOCK_K), tl.float32)

        # KERNEL rows, but the compiler must not know it: unrolled, the loads of all taps would not
        # fit the registers. H is never negative.
        row = 0
        while row < KERNEL + (H < 0):
            for column in tl.static_range(KERNEL):
                seen = _load_pixels(x, rows, columns, pixels, H, W, row - KERNEL // 2,
                                    column - KERNEL // 2,
                                    step * BLOCK_K, CIN, BLOCK_K, PITCH)  # fmt: skip
                taps = tl.load(depth + ((row * KERNEL + column) * CIN + k), mask=k < CIN, other=0.0)
                a += seen.to(tl.float32) * taps[None, :]
            row += 1

        b = _load_weight(weight, 0, step * BLOCK_K, channels, 1, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
        a = _round_to_tf32(a.to(b.dtype), (PRECISION == "tf32") & (b.dtype == tl.float32))
        f = tl.dot(a, b, f, input_precision=PRECISION)
    return f


@triton.jit
def _apply_attention(
    f, total, gate_weight, gate_bias, channels, NAME: tl.constexpr, COUT: tl.constexpr,
    BLOCK_N: tl.constexpr, PRECISION: tl.constexpr, ROUND_WEIGHT: tl.constexpr,
):  # fmt: skip
    """Apply an attention to features f, with total = skip + f; `residual` is total alone."""
    if NAME == "parameter_free":
        total *= 1 / (1 + tl.exp(-f)) - 0.5
    elif NAME == "hard_parameter_free":
        total *= tl.minimum(tl.maximum(f / 6, -0.5), 0.5)
    elif (NAME == "conv1x1") | (NAME == "diagonal"):
        if NAME == "conv1x1":
            weight = _load_weight(gate_weight, 0, 0, channels, 1, COUT, COUT, BLOCK_N, ROUND_WEIGHT)
            a = _round_to_tf32(
                f.to(weight.dtype), (PRECISION == "tf32") & (weight.dtype == tl.float32)
            )
            gate = tl.dot(a, weight, input_precision=PRECISION)
        else:
            gate = f * _load_vector(gate_weight, channels, COUT)
        if gate_bias is not None:
            gate += _load_vector(gate_bias, channels, COUT)
        total *= gate
    return total


@triton.jit
def _store_pixels(
    f, bias, skip, gate_weight, gate_bias, out, first, pixels, channels, inside,
    EPILOGUE: tl.constexpr, COUT: tl.constexpr, SKIP_PITCH: tl.constexpr, SKIP_OFFSET: tl.constexpr,
    OUT_PITCH: tl.constexpr, OUT_OFFSET: tl.constexpr, BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr,
    ROUND_WEIGHT: tl.constexpr, ROUND_OUT: tl.constexpr,
):  # fmt: skip
    """Add the bias to sums f, apply the epilogue and store; pixels count from the pixel `first`."""
    if bias is not None:
        f += _load_vector(bias, channels, COUT)
    mask = inside[:, None] & (channels < COUT)[None, :]
    if skip is not None:
        at = (SKIP_OFFSET + first * SKIP_PITCH) + (pixels[:, None] * SKIP_PITCH + channels[None, :])
        total = tl.load(skip + at, mask=mask, other=0.0).to(tl.float32) + f
        f = _apply_attention(f, total, gate_weight, gate_bias, channels, EPILOGUE, COUT, BLOCK_N,
                             PRECISION,
                    ROUND_WEIGHT)  # fmt: skip
    else:
        f = _apply_activation(f, EPILOGUE)
    at = (OUT_OFFSET + first * OUT_PITCH) + (pixels[:, None] * OUT_PITCH + channels[None, :])
    tl.store(out + at, _round_to_tf32(f.to(out.dtype.element_ty), ROUND_OUT), mask=mask)


@triton.jit
def _store_shuffled(
    f, bias, skip, out, n, top, left, y, x, channels, inside, H, W, COUT: tl.constexpr,
    SCALE: tl.constexpr
):  # fmt: skip
    """Add the bias to sums f and store them to an image by a pixel shuffle.

    The image is contiguous, (N, COUT / SCALE^2, SCALE * H, SCALE * W).
    """
    if bias is not None:
        f += _load_vector(bias, channels, COUT)

    # Channel c is plane c // SCALE^2 and, in that, the fine pixel c % SCALE^2 of a coarse one.
    mask = inside[:, None] & (channels < COUT)[None, :]
    plane = (channels // (SCALE * SCALE)).to(tl.int64) * H * W * (SCALE * SCALE)
    fine = (channels // SCALE % SCALE) * (W * SCALE) + channels % SCALE
    image = n.to(tl.int64) * H * W * COUT + top.to(tl.int64) * W * (SCALE * SCALE) + left * SCALE

    at = image + (plane + fine)[None, :] + (y * (W * SCALE * SCALE) + x * SCALE)[:, None]
    if skip is not None:
        f += tl.load(skip + at, mask=mask, other=0.0)
    tl.store(out + at, f.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _add_row(
    a, upper, middle, lower, above, here, below,
    ROW: tl.constexpr, BLOCK_H: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add a row of pixels to the sums of the rows around it; it is an upper tap of the row below.

    ROW counts from the block's first row; rows outside of the block have no sum.
    """
    if ROW + 1 < BLOCK_H:
        below = tl.dot(a, upper, below, input_precision=PRECISION)
    if (ROW >= 0) & (ROW < BLOCK_H):
        here = tl.dot(a, middle, here, input_precision=PRECISION)
    if ROW >= 1:
        above = tl.dot(a, lower, above, input_precision=PRECISION)
    return above, here, below


@triton.jit
def _convolve_rows(
    x, weight, bias, skip, gate_weight, gate_bias, out, first, top, left, channels, H, W,
    EPILOGUE: tl.constexpr, CIN: tl.constexpr, COUT: tl.constexpr,
    X_PITCH: tl.constexpr, SKIP_PITCH: tl.constexpr, SKIP_OFFSET: tl.constexpr,
    OUT_PITCH: tl.constexpr, OUT_OFFSET: tl.constexpr, PRECISION: tl.constexpr,
    ROUND_X: tl.constexpr, ROUND_WEIGHT: tl.constexpr, ROUND_OUT: tl.constexpr,
    OVERLAP: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Compute a block by the form `rows`, and store it.

    Three sums are under way: of the rows above, at and below the row that is read.
    """
    # All nine taps are held, in shared memory on Hopper, whose products read them there.
    w00 = _load_weight(weight, 0, 0, channels, 9, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
    w01 = _load_weight(weight, 1, 0, channels, 9, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
    w02 = _load_weight(weight, 2, 0, channels, 9, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
    w10 = _load_weight(weight, 3, 0, channels, 9, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
    w11 = _load_weight(weight, 4, 0, channels, 9, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
    w12 = _load_weight(weight, 5, 0, channels, 9, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
    w20 = _load_weight(weight, 6, 0, channels, 9, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
    w21 = _load_weight(weight, 7, 0, channels, 9, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
    w22 = _load_weight(weight, 8, 0, channels, 9, CIN, COUT, BLOCK_K, ROUND_WEIGHT)
    if OVERLAP:
        gdc_wait()  # no launch writes weights: they are on their way already

    m = tl.arange(0, BLOCK_W)
    rows = top + m * 0  # a vector: the interpreter takes no mask with a scalar in it
    columns = left + m
    above = tl.zeros((BLOCK_W, BLOCK_N), tl.float32)
    here = tl.zeros((BLOCK_W, BLOCK_N), tl.float32)
    below = tl.zeros((BLOCK_W, BLOCK_N), tl.float32)

    # Three steps a row, one for each column of taps; the row that is read is step // 3 - 1.
    coming = _load_pixels(x, rows, columns, m, H, W, -1, -1, 0, CIN, BLOCK_K, X_PITCH)
    for step in tl.static_range(3 * (BLOCK_H + 2)):
        a = _round_to_tf32(coming.to(w00.dtype), ROUND_X)
        if step + 1 < 3 * (BLOCK_H + 2):
            coming = _load_pixels(x, rows, columns, m, H, W, (step + 1) // 3 - 1,
                                  (step + 1) % 3 - 1,
                                  0, CIN, BLOCK_K, X_PITCH)  # fmt: skip

        if step % 3 == 0:
            above, here, below = _add_row(
                a, w00, w10, w20, above, here, below, step // 3 - 1, BLOCK_H, PRECISION
            )
        elif step % 3 == 1:
            above, here, below = _add_row(
                a, w01, w11, w21, above, here, below, step // 3 - 1, BLOCK_H, PRECISION
            )
        else:
            above, here, below = _add_row(
                a, w02, w12, w22, above, here, below, step // 3 - 1, BLOCK_H, PRECISION
            )

        # After its last tap, the row above is stored, and the sums move up by a row.
        if step % 3 == 2:
            if step >= 6:
                inside = (columns < W) & (rows + (step // 3 - 2) < H)
                _store_pixels(above, bias, skip, gate_weight, gate_bias, out, first,
                              m + (step // 3 - 2) * W, channels, inside,
                        EPILOGUE, COUT, SKIP_PITCH, SKIP_OFFSET, OUT_PITCH, OUT_OFFSET,
                        BLOCK_N, PRECISION, ROUND_WEIGHT, ROUND_OUT)  # fmt: skip
            above = here
            here = below
            below = tl.zeros((BLOCK_W, BLOCK_N), tl.float32)


@triton.jit(do_not_specialize=["H", "W", "stride_n", "stride_c", "stride_h", "stride_w"])
def conv_act_kernel(
    x, weight, bias, skip, gate_weight, gate_bias, depth, mean, out,
    H, W, stride_n, stride_c, stride_h, stride_w,
    CIN: tl.constexpr, COUT: tl.constexpr, KERNEL: tl.constexpr, EPILOGUE: tl.constexpr,
    X_PITCH: tl.constexpr, X_OFFSET: tl.constexpr, SKIP_PITCH: tl.constexpr,
    SKIP_OFFSET: tl.constexpr,
    OUT_PITCH: tl.constexpr, OUT_OFFSET: tl.constexpr, SHUFFLE: tl.constexpr,
    PRECISION: tl.constexpr,
    ROUND_X: tl.constexpr, ROUND_WEIGHT: tl.constexpr, ROUND_OUT: tl.constexpr,
    OVERLAP: tl.constexpr,
    FORM: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Compute one block of a map or image.

    Strides are those of an image (FORM `image`). SHUFFLE is the scale of a pixel shuffle, or 0.
    With OVERLAP the next launch may start at once, and this one waits for the one before to end.
    """
    if OVERLAP:
        gdc_launch_dependents()

    # Axis 0 of the grid counts blocks of pixels: by columns, then rows, then images.
    tiles_w = tl.cdiv(W, BLOCK_W)
    tile = tl.program_id(0)
    top = tile // tiles_w % tl.cdiv(H, BLOCK_H) * BLOCK_H
    left = tile % tiles_w * BLOCK_W
    n = tile // tiles_w // tl.cdiv(H, BLOCK_H)
    channels = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    first = (n.to(tl.int64) * H + top) * W + left  # a map may hold more elements than 32 bits count

    if FORM == "rows":
        _convolve_rows(x + (X_OFFSET + first * X_PITCH), weight, bias, skip, gate_weight,
                       gate_bias, out,
                       first, top, left, channels, H, W, EPILOGUE, CIN, COUT, X_PITCH, SKIP_PITCH,
                       SKIP_OFFSET,
                       OUT_PITCH, OUT_OFFSET, PRECISION, ROUND_X, ROUND_WEIGHT, ROUND_OUT, OVERLAP,
                       BLOCK_H, BLOCK_W, BLOCK_K, BLOCK_N)  # fmt: skip
    else:
        if OVERLAP:
            gdc_wait()
        y = tl.arange(0, BLOCK_H * BLOCK_W) // BLOCK_W
        z = tl.arange(0, BLOCK_H * BLOCK_W) % BLOCK_W
        rows = top + y
        columns = left + z
        pixels = y * W + z

        # Offsets inside a block fit 32 bits, from the block's first pixel on.
        if FORM == "image":
            f = _sum_image(x, weight, mean, n, rows, columns, channels, H, W, stride_n, stride_c,
                           stride_h,
                            stride_w, CIN, COUT, KERNEL, BLOCK_K, BLOCK_N, PRECISION,
                            ROUND_WEIGHT)  # fmt: skip
        elif FORM == "separable":
            f = _sum_separable(x + (X_OFFSET + first * X_PITCH), depth, weight, rows, columns,
                               pixels, channels, H, W,
                                CIN, COUT, KERNEL, X_PITCH, BLOCK_K, BLOCK_N, PRECISION,
                                ROUND_WEIGHT)  # fmt: skip
        else:
            f = _sum_tiles(x + (X_OFFSET + first * X_PITCH), weight, rows, columns, pixels,
                           channels, H, W,
                           CIN, COUT, KERNEL, X_PITCH, FORM == "loop", BLOCK_K, BLOCK_N, PRECISION,
                           ROUND_X, ROUND_WEIGHT)  # fmt: skip

        inside = (rows < H) & (columns < W)
        if SHUFFLE > 0:
            _store_shuffled(
                f, bias, skip, out, n, top, left, y, z, channels, inside, H, W, COUT, SHUFFLE
            )
        else:
            _store_pixels(f, bias, skip, gate_weight, gate_bias, out, first, pixels, channels,
                          inside, EPILOGUE, COUT,
                    SKIP_PITCH, SKIP_OFFSET, OUT_PITCH, OUT_OFFSET, BLOCK_N, PRECISION,
                    ROUND_WEIGHT, ROUND_OUT)  # fmt: skip
