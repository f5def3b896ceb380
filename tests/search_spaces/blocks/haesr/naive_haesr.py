"""HAESR a second time: straight from its formulas and released key names, in loops over windows and
tokens.

Slow, and on purpose without a line of `search_spaces`: tests hold the network to it.
"""

import math

import torch
from torch.nn import functional as F

CHANNELS, QUARTER = 48, 12
LOCAL = {1: "star", 2: "cross", 3: "corner"}
GRID = {1: "center", 2: "row", 3: "col"}
EXTRA = {"center": (7, 7), "row": (8, 7), "col": (7, 8)}


def places(pattern):
    """(row, column) in the 16x16 patch of the keys of a window, in raster order."""
    found = [(row, column) for row in range(4, 12) for column in range(4, 12)]
    for s in range(4):
        if pattern == "star":
            found += [(3 - s, 8), (12 + s, 8), (8, 3 - s), (8, 12 + s)]
            found += [(3 - s, 3 - s), (3 - s, 12 + s), (12 + s, 3 - s), (12 + s, 12 + s)]
        if pattern == "cross":
            for k in (7, 8):
                found += [(3 - s, k), (12 + s, k), (k, 3 - s), (k, 12 + s)]
    if pattern == "corner":
        found += [
            (top + i, left + j)
            for top in (0, 13)
            for left in (0, 13)
            for i in range(3)
            for j in range(3)
        ]
    return sorted(found, key=lambda place: 16 * place[0] + place[1])


def block_prefix(block):
    return "block0.residual_layer.0." if block == 0 else f"block{block}.residual_layer."


def released_shapes():
    """The keys of the released file and their shapes, the buffers too."""
    shapes = {}

    def conv(name, out, into, *kernel, bias=True):
        shapes[f"{name}.weight"] = (out, into, *kernel)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    def norm(name, width):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def gfn(name, width):
        conv(f"{name}.project_in", 2 * width, width, 1, 1, bias=False)
        conv(f"{name}.dwconv", 2 * width, 1, 3, 3, bias=False)
        conv(f"{name}.project_out", width, width, 1, 1, bias=False)

    conv("input", 48, 3, 3, 3)
    conv("output", 48, 48, 3, 3)
    conv("up.0", 48, 48, 3, 3)
    for block in range(3):
        p = block_prefix(block)
        for i, width in ((1, 48), (2, 36), (3, 24)):
            conv(f"{p}LB{i}.DWConv3", width, 1, 3, 3)
            conv(f"{p}LB{i}.conv1", width, 2 * width, 1, 1)
            conv(f"{p}LB{i}.PLKB.DWConv_1xK", width // 4, 1, 1, 31)
            conv(f"{p}LB{i}.PLKB.DWConv_Kx1", width // 4, 1, 31, 1)
            conv(f"{p}LB{i}.PLKB.conv1", width, width, 1, 1)
            width -= 12
            num_keys = {1: 96, 2: 96, 3: 100}[i]
            for kind in ("SLA", "SGA"):
                norm(f"{p}{kind}{i}.cnorm", width)
                norm(f"{p}{kind}{i}.cnorm2", width)
                gfn(f"{p}{kind}{i}.gfn", width)
                attn = f"{p}{kind}{i}.attn"
                if block == 0:
                    shapes[f"{attn}.to_q.weight"] = (width, width)
                    shapes[f"{attn}.to_kv.weight"] = (2 * width, width)
                else:
                    shapes[f"{attn}.to_v.weight"] = (width, width)
                shapes[f"{attn}.to_out.0.weight"] = (width, width)
            if block == 0:
                shapes[f"{p}SLA{i}.attn.rel_pos_bias"] = (1, 64, num_keys)
                shapes[f"{p}SGA{i}.attn.rel_pos_bias.weight"] = (225, 1)
                shapes[f"{p}SGA{i}.attn.extra_pos_bias"] = (1, 64, {1: 49, 2: 56, 3: 56}[i])
            shapes[f"{p}SLA{i}.attn.ext_unfold.sample_indices"] = (num_keys,)
            shapes[f"{p}SLA{i}.attn.ext_unfold.center_indices"] = (64,)
        for i, width in ((1, 48), (2, 36), (3, 48)):
            conv(f"{p}pw{i}", width, width, 1, 1)
        for i in (1, 2):
            norm(f"{p}BlockC.canorm{i}", 48)
            norm(f"{p}BlockC.cnorm{i}", 48)
            gfn(f"{p}BlockC.gfn{i}", 48)
            shapes[f"{p}BlockC.cttn{i}.temperature"] = (1, 1, 1)
            conv(f"{p}BlockC.cttn{i}.qkv", 144, 48, 1, 1, bias=False)
            conv(f"{p}BlockC.cttn{i}.qkv_dwconv", 144, 1, 3, 3, bias=False)
            conv(f"{p}BlockC.cttn{i}.project_out", 48, 48, 1, 1, bias=False)
        conv(f"block{block}.res_end", 48, 48, 1, 1)
        conv(f"block{block}.esa.conv1", 16, 48, 1, 1)
        conv(f"block{block}.esa.conv2", 16, 16, 3, 3)
        conv(f"block{block}.esa.conv3", 16, 16, 3, 3)
        conv(f"block{block}.esa.conv_f", 16, 16, 1, 1)
        conv(f"block{block}.esa.conv4", 48, 16, 1, 1)
    return shapes


def released_state(seed, dtype=torch.float64):
    """Random weights under the released keys; every part of them matters to the output."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in released_shapes().items():
        draw = torch.randn(shape, generator=generator, dtype=dtype)
        if name.endswith("_indices"):
            pattern = LOCAL[int(name.split("SLA")[1][0])]
            kept = (
                places(pattern)
                if "sample" in name
                else [(r, c) for r in range(4, 12) for c in range(4, 12)]
            )
            state[name] = torch.tensor([16 * row + column for row, column in kept])
        elif "norm" in name:
            state[name] = 0.3 * draw + (1 if name.endswith("weight") else 0)
        elif "pos_bias" in name or name.endswith("temperature"):
            state[name] = 2 + draw
        elif name.endswith("bias"):
            state[name] = 0.1 * draw
        else:
            state[name] = draw / math.prod(shape[1:]) ** 0.5
    return state


class Naive:
    """The network's functions over one image or map of features, (C, H, W), by its released keys."""

    def __init__(self, state):
        self.state = state

    def conv(self, name, x, **options):
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        groups = x.shape[0] // weight.shape[1]
        options.setdefault("padding", (weight.shape[2] // 2, weight.shape[3] // 2))
        return F.conv2d(x[None], weight, bias, groups=groups, **options)[0]

    def norm(self, name, x):
        out = torch.empty_like(x)
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                pixel = x[:, row, column]
                unit = (pixel - pixel.mean()) / (pixel.var(correction=0) + 1e-6).sqrt()
                out[:, row, column] = (
                    unit * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]
                )
        return out

    def gfn(self, name, x):
        wide = self.conv(f"{name}.dwconv", self.conv(f"{name}.project_in", x))
        half = wide.shape[0] // 2
        return self.conv(f"{name}.project_out", gelu(wide[:half]) * wide[half:])

    def large_kernel(self, name, x):
        num, s = x.shape[0], x.shape[0] // 4
        order = [None] * num
        for g in range(4):
            for j in range(s):
                order[g * s + j] = 4 * j + g
        x = x[order]
        a = x[:s]
        a = a * torch.sigmoid(a.mean((1, 2), keepdim=True))
        a = self.conv(f"{name}.DWConv_Kx1", self.conv(f"{name}.DWConv_1xK", a))
        return gelu(self.conv(f"{name}.conv1", torch.cat([a, x[s:]])))

    def local_features(self, name, x):
        both = torch.cat([self.conv(f"{name}.DWConv3", x), self.large_kernel(f"{name}.PLKB", x)])
        return gelu(self.conv(f"{name}.conv1", both))

    def attend(self, name, queries, keys, bias, given):
        """Tokens (64, C) and the map (64, keys) of one set."""
        width, state = queries.shape[1], self.state
        if given is None:
            q = queries @ state[f"{name}.to_q.weight"].T
            both = keys @ state[f"{name}.to_kv.weight"].T
            k, v = both[:, :width], both[:, width:]
            given = torch.softmax(q @ k.T / math.sqrt(width) + bias, 1)
        else:
            v = keys @ state[f"{name}.to_v.weight"].T
        return given @ v @ state[f"{name}.to_out.0.weight"].T, given

    def local_attention(self, name, x, pattern, given):
        _, height, width = x.shape
        out, maps = torch.empty_like(x), []
        bias = None if given else self.state[f"{name}.rel_pos_bias"][0]
        for top in range(0, height, 8):
            for left in range(0, width, 8):
                inside = [(top + r, left + c) for r in range(8) for c in range(8)]
                queries = torch.stack([x[:, r, c] for r, c in inside])
                keys = []
                for row, column in places(pattern):
                    r, c = top + row - 4, left + column - 4
                    known = 0 <= r < height and 0 <= c < width
                    keys.append(x[:, r, c] if known else torch.zeros_like(x[:, 0, 0]))
                tokens, used = self.attend(
                    name, queries, torch.stack(keys), bias, given[len(maps)] if given else None
                )
                maps.append(used)
                for (r, c), token in zip(inside, tokens, strict=True):
                    out[:, r, c] = token
        return out, maps

    def grid_attention(self, name, x, pattern, given):
        _, height, width = x.shape
        gh, gw = height // 8, width // 8
        dh, dw = {"center": (gh // 2, gw // 2), "row": (0, gw // 2), "col": (gh // 2, 0)}[pattern]
        shifted = F.pad(x[None], (0, dw, 0, dh), mode="reflect")[0][:, dh:, dw:]
        rows, columns = EXTRA[pattern]
        out, maps = torch.empty_like(x), []
        bias = None if given else self.grid_bias(name)
        for i in range(gh):
            for j in range(gw):
                inside = [(a * gh + i, b * gw + j) for a in range(8) for b in range(8)]
                extra = [(a * gh + i, b * gw + j) for a in range(rows) for b in range(columns)]
                queries = torch.stack([x[:, r, c] for r, c in inside])
                keys = torch.cat([queries, torch.stack([shifted[:, r, c] for r, c in extra])])
                tokens, used = self.attend(
                    name, queries, keys, bias, given[len(maps)] if given else None
                )
                maps.append(used)
                for (r, c), token in zip(inside, tokens, strict=True):
                    out[:, r, c] = token
        return out, maps

    def grid_bias(self, name):
        table, extra = (
            self.state[f"{name}.rel_pos_bias.weight"],
            self.state[f"{name}.extra_pos_bias"][0],
        )
        bias = torch.empty(64, 64, dtype=table.dtype)
        for query in range(64):
            for key in range(64):
                down, across = query // 8 - key // 8, query % 8 - key % 8
                bias[query, key] = table[(down + 7) * 15 + across + 7, 0]
        return torch.cat([bias, extra], 1)

    def spatial_block(self, name, x, attention, pattern, given):
        tokens, maps = attention(f"{name}.attn", self.norm(f"{name}.cnorm", x), pattern, given)
        x = x + tokens
        return self.gfn(f"{name}.gfn", self.norm(f"{name}.cnorm2", x)) + x, maps

    def channel_attention(self, name, x, phases):
        _, height, width = x.shape
        qkv = self.conv(f"{name}.qkv_dwconv", self.conv(f"{name}.qkv", x))
        windows = [(top, left) for top in range(0, height, 8) for left in range(0, width, 8)]
        phase = [(r, c) for r in range(8) for c in range(8)]
        out = torch.empty_like(x)
        for r0, c0 in phase if phases else windows:
            pixels = [(r0 + r, c0 + c) for r, c in (windows if phases else phase)]
            tokens = torch.stack([qkv[:, r, c] for r, c in pixels], 1)
            q, k, v = tokens[:48], tokens[48:96], tokens[96:]
            q = q / q.norm(dim=1, keepdim=True).clamp_min(1e-12)
            k = k / k.norm(dim=1, keepdim=True).clamp_min(1e-12)
            mixed = torch.softmax(q @ k.T * self.state[f"{name}.temperature"].item(), 1) @ v
            for (r, c), token in zip(pixels, mixed.T, strict=True):
                out[:, r, c] = token
        return self.conv(f"{name}.project_out", out)

    def body(self, p, x, given):
        """(48, H, W), H and W multiples of 8, and the six maps by name, as lists over the sets."""
        maps, kept = {}, []
        for i in (1, 2, 3):
            x = self.local_features(f"{p}LB{i}", x)
            loc, x = x[:12], x[12:]
            for kind, attention, pattern in (
                ("SLA", self.local_attention, LOCAL[i]),
                ("SGA", self.grid_attention, GRID[i]),
            ):
                name = f"{kind}{i}"
                x, maps[name] = self.spatial_block(
                    p + name, x, attention, pattern, given[name] if given else None
                )
            if i < 3:
                x = self.conv(f"{p}pw{i}", torch.cat([x, loc]))
                kept.append(x[:12])
                x = x[12:]
        x = self.conv(f"{p}pw3", torch.cat([kept[0], kept[1], x, loc]))
        for i in (1, 2):
            c = f"{p}BlockC."
            x = (
                self.channel_attention(f"{c}cttn{i}", self.norm(f"{c}canorm{i}", x), phases=i == 2)
                + x
            )
            x = self.gfn(f"{c}gfn{i}", self.norm(f"{c}cnorm{i}", x)) + x
        return x, maps

    def esa(self, name, x):
        a = self.conv(f"{name}.conv1", x)
        t = F.max_pool2d(self.conv(f"{name}.conv2", a, stride=2, padding=0), 7, 3)
        t = self.conv(f"{name}.conv3", t)
        t = bilinear(bilinear(t, x.shape[1]).mT, x.shape[2]).mT
        return x * torch.sigmoid(self.conv(f"{name}.conv4", t + self.conv(f"{name}.conv_f", a)))

    def network(self, image):
        _, height, width = image.shape
        rows, columns = (
            [n if n < size else 2 * (size - 1) - n for n in range(-(-size // 8) * 8)]
            for size in (height, width)
        )
        f = h = self.conv("input", image[:, rows][:, :, columns])
        maps = None
        for block in range(3):
            inner, found = self.body(block_prefix(block), h, maps)
            maps = maps or found
            h = self.esa(f"block{block}.esa", self.conv(f"block{block}.res_end", inner) + h)
        up = self.conv("up.0", self.conv("output", h) + f)
        out = torch.empty(3, 4 * up.shape[1], 4 * up.shape[2], dtype=up.dtype)
        for c in range(3):
            for i in range(4):
                for j in range(4):
                    out[c, i::4, j::4] = up[c * 16 + 4 * i + j]
        return out[:, : 4 * height, : 4 * width]


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def bilinear(x, size):
    """(C, h, w) -> (C, size, w), half-pixel centres."""
    rows = []
    for n in range(size):
        source = max((n + 0.5) * x.shape[1] / size - 0.5, 0.0)
        low = int(source)
        high = min(low + 1, x.shape[1] - 1)
        rows.append((1 - source + low) * x[:, low] + (source - low) * x[:, high])
    return torch.stack(rows, 1)
