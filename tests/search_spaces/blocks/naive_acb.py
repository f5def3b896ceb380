"""ZenoSR, DAN and VSCINet once more, from their formulas alone.

The released names and shapes of their weights, and what they compute: one image, one window and one
region at a time. Features are (C, H, W).
"""

import math

import torch
from torch.nn import functional as F

WIDTHS = {"zenosr": 18, "dan": 16, "vscinet": 20}
NUM_BLOCKS = {"zenosr": 4, "dan": 6, "vscinet": 5}
MEAN = (0.4488, 0.4371, 0.4040)


def conv_shapes(name, *shape, bias):
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def local_shapes(name, d):
    found = conv_shapes(f"{name}.conv4", d // 2, 2, 3, 3, bias=True)
    found |= conv_shapes(f"{name}.conv5", d, 2 * d, 1, 1, bias=True)
    for k in (1, 2, 3):
        found |= conv_shapes(f"{name}.conv{k}", d // 2, d, 1, 1, bias=True)
        found |= conv_shapes(f"{name}.dwconv{k}.0", d, d, 1, 1, bias=True)
        found |= conv_shapes(f"{name}.dwconv{k}.1", d, 1, 3, 3, bias=True)
    return found


def scale_shapes(name, d):
    found = conv_shapes(f"{name}.conv1", d, d, 1, 1, bias=False)
    kernels = {"2_1": (3, 3), "2_2": (5, 3), "2_3": (3, 5), "2_4.0": (3, 3), "2_4.1": (3, 3)}
    return found | {
        f"{name}.dwc.conv{k}.weight": (d // 4, 1, *kernel) for k, kernel in kernels.items()
    }


def shared_shapes(name, d):
    half, spatial, channel = d // 2, f"{name}.spatial_attn", f"{name}.channel_attn"
    found = conv_shapes(f"{spatial}.conv1", half, d, 1, 1, bias=False)
    found |= conv_shapes(f"{spatial}.dwconv", half, 1, 3, 3, bias=False)
    found |= conv_shapes(f"{spatial}.conv2", half, half, 1, 1, bias=False)
    found |= conv_shapes(f"{spatial}.conv3", d, half, 1, 1, bias=False)
    found[f"{channel}.global_channel.temperature"] = (1, 1)
    for k in (1, 2):
        found |= conv_shapes(f"{channel}.norm{k}.body", d, bias=True)
    for part, mixed in (("global_channel", 2 * d), ("ffn", 4 * d)):
        found |= conv_shapes(f"{channel}.{part}.project_in", 4 * d, d, 1, 1, bias=False)
        found |= conv_shapes(f"{channel}.{part}.dwconv", mixed, 1, 3, 3, bias=False)
        found |= conv_shapes(f"{channel}.{part}.project_out", d, mixed // 2, 1, 1, bias=False)
    return found


def released_shapes(network):
    """Names and shapes of the released weights."""
    d, num = WIDTHS[network], NUM_BLOCKS[network]
    found = conv_shapes("to_feat", d, 3, 3, 3, bias=False)
    found |= conv_shapes("fuse.0", d, num * d, 1, 1, bias=False)
    found |= conv_shapes("to_img.0", 48, d, 1, 1, bias=False)
    found |= scale_shapes("fuse.2", d) if network == "vscinet" else local_shapes("fuse.2", d)
    if network != "vscinet":
        found |= {f"refine.{k}.weight": (3, 1, 3, 3) for k in (1, 3, 5, 7)}
    if network == "zenosr":
        found |= {f"alpha_{k}": (1, d, 1, 1) for k in (5, 6, 7, 8)}
    for name in (f"B{i}" for i in range(1, num + 1)):
        found |= shared_shapes(name, d)
        if network != "vscinet":
            found |= local_shapes(f"{name}.local_handle", d)
            continue
        for part in ("c1_r", "c2_r", "local_handle"):
            found |= scale_shapes(f"{name}.{part}", d)
        for k in (1, 2):
            found |= conv_shapes(f"{name}.c{k}_d", d // 2, d, 1, 1, bias=True)
        found |= conv_shapes(f"{name}.c3", d // 2, 2, 3, 3, bias=True)
        found |= conv_shapes(f"{name}.c4", d, 3 * (d // 2), 1, 1, bias=True)
        found |= {f"{name}.spatial_attn.{k}": (1, d // 2, 1, 1) for k in ("alpha", "belt")}
    return found


def random_weights(network, seed):
    """Released names to weights that keep features of about unit size, so that every part is seen."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in released_shapes(network).items():
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        if name.endswith("temperature"):
            found[name] = 3 + noise
        elif len(shape) == 4 and shape[0] > 1:
            found[name] = noise / math.sqrt(math.prod(shape[1:]))
        else:
            found[name] = 0.3 * noise + (
                1 if name.endswith("body.weight") or "alpha" in name else 0
            )
        if name.startswith("refine"):
            found[name] *= 2
        if name.startswith("to_img"):
            found[name] /= 2
    return found


class Released:
    """A network by its released weights.

    Args:
        window: pixels of a side of a window; None: an image is one window, as in training.
    """

    def __init__(self, network, weights, window):
        self.network, self.weights, self.window = network, weights, window

    def __call__(self, image):
        """(3, H, W) -> (3, 4 H, 4 W)."""
        mean = (
            torch.tensor(MEAN).to(image.dtype).view(3, 1, 1)
        )  # rounded to single precision, as there
        x0 = x = self.conv("to_feat", image - mean)
        stages = []
        for i in range(1, NUM_BLOCKS[self.network] + 1):
            x = self.block(f"B{i}", x)
            stages.append(x * self.weights[f"alpha_{i + 4}"][0] if self.network == "zenosr" else x)
        fused = F.gelu(self.conv("fuse.0", torch.cat(stages)))
        last = self.multi_scale if self.network == "vscinet" else self.local
        maps = self.conv("to_img.0", last("fuse.2", fused) + x0)
        height, width = image.shape[1:]
        out = (
            maps.view(3, 4, 4, height, width)
            .permute(0, 3, 1, 4, 2)
            .reshape(3, 4 * height, 4 * width)
        )
        for k in (1, 3, 5, 7) if self.network != "vscinet" else ():
            out = self.conv(f"refine.{k}", F.gelu(out))
        return out + mean

    def conv(self, name, x):
        """Zero padding that keeps the size; the number of groups follows from the shapes."""
        weight = self.weights[f"{name}.weight"]
        pad = (weight.shape[2] // 2, weight.shape[3] // 2)
        groups = len(x) // weight.shape[1]
        return F.conv2d(
            x[None], weight, self.weights.get(f"{name}.bias"), padding=pad, groups=groups
        )[0]

    def block(self, name, h):
        local = self.two_scales if self.network == "vscinet" else self.local
        out = local(name if self.network == "vscinet" else f"{name}.local_handle", h)
        return self.channel(f"{name}.channel_attn", self.spatial(f"{name}.spatial_attn", out)) + h

    def local(self, name, h):
        steps = [h]
        for k in (1, 2, 3):
            t = steps[-1]
            steps.append(
                F.gelu(self.conv(f"{name}.dwconv{k}.1", self.conv(f"{name}.dwconv{k}.0", t)) + t)
            )
        kept = [F.gelu(self.conv(f"{name}.conv{k}", steps[k - 1])) for k in (1, 2, 3, 4)]
        return self.conv(f"{name}.conv5", torch.cat(kept))

    def multi_scale(self, name, t):
        a, b, c, d = self.conv(f"{name}.conv1", t).split(len(t) // 4)
        groups = [self.conv(f"{name}.dwc.conv2_{k}", part) for k, part in ((1, a), (2, b), (3, c))]
        twice = self.conv(f"{name}.dwc.conv2_4.1", self.conv(f"{name}.dwc.conv2_4.0", d))
        return torch.cat([*groups, twice])

    def residual_scale(self, name, t):
        return F.gelu(self.multi_scale(name, t) + t)

    def two_scales(self, name, h):
        r1 = self.residual_scale(f"{name}.c1_r", h)
        r2 = self.residual_scale(f"{name}.c2_r", r1)
        seen = (("c1_d", h), ("c2_d", r1), ("c3", r2))
        t = self.conv(
            f"{name}.c4", torch.cat([F.gelu(self.conv(f"{name}.{k}", x)) for k, x in seen])
        )
        return self.residual_scale(f"{name}.local_handle", t)

    def spatial(self, name, h):
        height, width = h.shape[1:]
        rows, columns = height // 8, width // 8
        t = self.conv(f"{name}.conv1", unit(h, 0))
        pooled = torch.stack([torch.stack([
            t[:, i * height // rows : math.ceil((i + 1) * height / rows),
              j * width // columns : math.ceil((j + 1) * width / columns)].amax((1, 2))
            for j in range(columns)], 1) for i in range(rows)], 1)  # fmt: skip
        p = self.conv(f"{name}.dwconv", pooled)
        v = t.flatten(1).var(1, unbiased=True)[:, None, None]
        if f"{name}.alpha" in self.weights:
            p, v = self.weights[f"{name}.alpha"][0] * p, self.weights[f"{name}.belt"][0] * v
        w = F.gelu(self.conv(f"{name}.conv2", p + v))
        w = w[:, [i * rows // height for i in range(height)]]
        w = w[:, :, [j * columns // width for j in range(width)]]
        return self.conv(f"{name}.conv3", t * w) + h

    def channel(self, name, h):
        h = self.attend(f"{name}.global_channel", self.norm(f"{name}.norm1", h)) + h
        a, b = self.conv(
            f"{name}.ffn.dwconv", self.conv(f"{name}.ffn.project_in", self.norm(f"{name}.norm2", h))
        ).chunk(2)
        return self.conv(f"{name}.ffn.project_out", F.gelu(a) * b) + h

    def norm(self, name, x):
        centred = x - x.mean(0)
        normed = centred / (centred.square().mean(0) + 1e-5).sqrt()
        weight, bias = (self.weights[f"{name}.body.{k}"][:, None, None] for k in ("weight", "bias"))
        return normed * weight + bias

    def attend(self, name, n):
        p, q = self.conv(f"{name}.project_in", n).chunk(2)
        r = self.conv(f"{name}.dwconv", p) * q
        out, count = torch.zeros_like(n), torch.zeros_like(n)
        for rows in windows(n.shape[1], self.window):
            for columns in windows(n.shape[2], self.window):
                query, value = (half.flatten(1) for half in r[:, rows, columns].chunk(2))
                scores = unit(query, 1) @ unit(value, 1).T * self.weights[f"{name}.temperature"]
                attended = torch.softmax(scores, 1) @ value
                out[:, rows, columns] += attended.view_as(out[:, rows, columns])
                count[:, rows, columns] += 1
        return self.conv(f"{name}.project_out", out / count)


def unit(x, dim):
    return x / x.norm(dim=dim, keepdim=True).clamp_min(1e-12)


def windows(length, size):
    """The ranges of an axis, one after the other, until one ends with it."""
    k = min(size or length, length)
    num = (length - 1) // k + 1
    stride = math.ceil((length - k) / (num - 1)) if num > 1 else k
    start = 0
    while start + k < length:
        yield slice(start, start + k)
        start += stride
    yield slice(length - k, length)
