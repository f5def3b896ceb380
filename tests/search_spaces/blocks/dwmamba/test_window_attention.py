import pytest
import torch

from search_spaces.blocks.dwmamba.window_attention import WindowAttention


def pixel_by_pixel(net, tokens, height, width):
    """The same from its definition: which pixels see each other, and how far they are apart."""
    channels, heads = tokens.shape[2], net.num_heads
    q, k, v = (net.qkv(tokens)).split(channels, dim=-1)
    depth = channels // heads

    def place(row, column):
        """The window of a pixel, its place there, and whether it came over the edge."""
        rolled = ((row - net.shift) % height, (column - net.shift) % width)
        return (
            [r // net.window for r in rolled], [r % net.window for r in rolled],
            [row < net.shift, column < net.shift],
        )  # fmt: skip

    pixels = [(r, c) for r in range(height) for c in range(width)]
    out = torch.zeros_like(tokens)
    for i, pixel in enumerate(pixels):
        window, at, over = place(*pixel)
        seen = [
            j
            for j, other in enumerate(pixels)
            if place(*other)[0] == window and place(*other)[2] == over
        ]
        for h in range(heads):
            part = slice(h * depth, (h + 1) * depth)
            scores = []
            for j in seen:
                there = place(*pixels[j])[1]
                apart = [at[0] - there[0] + net.window - 1, at[1] - there[1] + net.window - 1]
                bias = net.bias_table[apart[0] * (2 * net.window - 1) + apart[1], h]
                scores.append((q[0, i, part] * k[0, j, part]).sum() / depth**0.5 + bias)
            weights = torch.stack(scores).softmax(0)
            out[0, i, part] = sum(w * v[0, j, part] for w, j in zip(weights, seen, strict=True))
    return net.proj(out)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", [(4, 6), (2, 2), (2, 4)])
def test_attention_is_that_of_its_definition(size, shift):
    torch.manual_seed(0)
    net = WindowAttention(6, window=2, shift=shift, num_heads=3).double()
    torch.nn.init.normal_(net.bias_table)
    tokens = torch.randn(1, size[0] * size[1], 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(tokens, *size), pixel_by_pixel(net, tokens, *size))


def test_windows_see_themselves_alone_and_shifted_ones_across():
    torch.manual_seed(0)
    changed = {}
    for shift in (0, 4):
        net, tokens = (
            WindowAttention(4, window=8, shift=shift, num_heads=1),
            torch.randn(1, 16 * 16, 4),
        )
        other = tokens.clone()
        other[0, 9 * 16 + 9] += 1  # one pixel of the last window
        with torch.no_grad():
            difference = (net(tokens, 16, 16) - net(other, 16, 16)).abs().amax(-1).view(16, 16)
        changed[shift] = {tuple(at) for at in (difference > 1e-7).nonzero().tolist()}
    assert changed[0] == {(r, c) for r in range(8, 16) for c in range(8, 16)}
    assert changed[4] == {(r, c) for r in range(4, 12) for c in range(4, 12)}
