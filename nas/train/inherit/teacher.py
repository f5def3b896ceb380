"""The features of a trained parent on calibration images, read at some of their pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.blocks.conv import ConvStack
from search_spaces.blocks.spab import SPAB
from search_spaces.layers.activation import ACTIVATIONS
from search_spaces.layers.attention import VALUEWISE
from search_spaces.network import Network
from search_spaces.spec import FIXED_SKIPS, ArchSpec

ROWS = 16384  # pixels that are fitted; a 3x3 kernel over 32 channels has 289 unknowns
FLAT = 0.01  # added to each pixel's contrast, so that flat ones are drawn too, though seldom


class Pixels:
    """Pixels (image, y, x) of calibration images, drawn without replacement, to read features at.

    They are drawn in proportion to the contrast around them: flat regions are alike, and a child
    errs most where it meets more contrast than its calibration held.
    """

    def __init__(self, images: Tensor, rows: int, seed: int) -> None:
        *_, height, width = images.shape
        generator = torch.Generator().manual_seed(seed)

        # Drawn by contrast, then sorted: reading in order is faster.
        likely = _measure_contrast(images).flatten() + FLAT
        flat = (
            torch.multinomial(likely, min(rows, likely.numel()), generator=generator).sort().values
        )
        self.image = flat // (height * width)
        self.y = flat // width % height
        self.x = flat % width

    def rows(self, features: Tensor) -> Tensor:
        """Read features at the pixels, (N, C, H, W) -> (rows, C)."""
        return features.permute(0, 2, 3, 1)[self.image, self.y, self.x]

    def columns(self, features: Tensor, kernel: int) -> Tensor:
        """Read what a kernel sees at the pixels, zero padding included: (rows, C kernel^2).

        The order of the columns is that of a flattened weight.
        """
        pad = kernel // 2
        padded = F.pad(features, [pad] * 4).permute(0, 2, 3, 1).contiguous()

        taps = [
            padded[self.image, self.y + dy, self.x + dx]
            for dy in range(kernel)
            for dx in range(kernel)
        ]
        return torch.stack(taps, 2).flatten(1)


def _measure_contrast(images: Tensor) -> Tensor:
    """Compute the standard deviation of the brightness in 5x5 pixels, (N, 1, H, W)."""
    grey = images.mean(1, keepdim=True)
    mean, square = (
        F.avg_pool2d(x, 5, 1, 2, count_include_pad=False) for x in (grey, grey.square())
    )

    # Rounding may leave a variance just below zero.
    return (square - mean.square()).clamp_min(0).sqrt()


class Teacher:
    """A trained network with its features on calibration images; one serves any number of children.

    Attributes:
        net: the parent in inference form, on the CPU.
        images: LR (N, 3, H, W) in [0, 1].
        pixels: where features are read.
        features: (rows, C) each, by name: `stem`, `skip` and `block<i>`; of SPABs and stacks also
            `block<i>.z1` and `.z2` (convolutions 1 and 2), `.inner` and `.a2` (these activated),
            `.f` (convolution 3) and `.x` (the block's input in its own width); `fused`, `up`
            (before pixel shuffle) and `out` (unshuffled).
    """

    @torch.no_grad()
    def __init__(self, parent: Network, images: Tensor, *, rows: int = ROWS, seed: int = 0) -> None:
        """Run the parent once.

        Args:
            parent: in inference or training form; it is left as it is.
            images: LR (N, 3, H, W) in [0, 1]; 120 patches of 24x24 are better than 30 of 48x48.
            rows: at how many pixels the features are read.
            seed: of the choice of pixels; the same for the same children.
        Raises:
            ValueError: the images have another shape, or the parent is not of SPAN's family.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must be (N, 3, H, W) in [0, 1], got {tuple(images.shape)}; stack LR "
                "patches"
            )

        check_family(parent.spec)
        self.net = parent.fold().cpu().float().eval()
        self.spec = parent.spec
        self.images = images.float()
        self.pixels = Pixels(images, rows, seed)
        self.features: dict[str, Tensor] = {}
        self._run_network()

    def _run_network(self) -> None:
        """Run the network as its `forward` does, and record each feature at the pixels."""
        net, spec = self.net, self.spec
        taps: dict[str, Tensor] = {}

        # A branch whose output has the image's size is upsampled with the body; it can be tapped.
        if net.skip is not None:
            taps["skip"] = net.skip(self.images)
            if taps["skip"].shape[-1] == self.images.shape[-1]:
                self._record("skip", taps["skip"])

        x = network_input(net, self.images)
        if net.stem is not None:
            x = taps["stem"] = self._record("stem", net.stem(x))
        for number, block in net.blocks.items():
            name = f"block{number}"
            if isinstance(block, SPAB | ConvStack):
                x, taps[f"{name}.inner"] = self._run_block(name, block, x)
            else:
                x = block(x)
            taps[name] = self._record(name, x)

        # From the taps to the image, before and after pixel shuffle.
        fused = self._record("fused", net.fusion(torch.cat([taps[tap] for tap in spec.taps], 1)))
        up = self._record("up", convolution(net.upsampler.conv)(fused))
        out = F.pixel_shuffle(up, spec.scale)
        out = out + taps["skip"] if has_fixed_skip(spec) else out
        self._record("out", F.pixel_unshuffle(out, spec.scale))

    def _run_block(self, name: str, block: SPAB | ConvStack, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run a block and record its inner features; return its output and its first activation."""
        # Each step is recorded, as children are fitted to any of them.
        act = ACTIVATIONS[block.activation]
        inner = self._record(
            f"{name}.inner", act(self._record(f"{name}.z1", block.conv1(x)), False)
        )
        second = self._record(
            f"{name}.a2", act(self._record(f"{name}.z2", block.conv2(inner)), False)
        )
        f = self._record(f"{name}.f", block.conv3(second))
        if isinstance(block, SPAB):
            x = self._record(f"{name}.x", block.shortcut(x))
            return block.attention(x, f), inner

        return act(f, False) if block.activate_last else f, inner

    def _record(self, name: str, features: Tensor) -> Tensor:
        """Keep features (N, C, H, W) as rows; return them unchanged."""
        self.features[name] = self.pixels.rows(features)
        return features


def network_input(net: Network, images: Tensor) -> Tensor:
    """Return the images as the body of a network sees them: normalised, or as they are."""
    return 255.0 * (images - net.mean) if net.spec.normalise else images


def has_fixed_skip(spec: ArchSpec) -> bool:
    """Return whether a branch without weights is added to the network's output."""
    return spec.skip is not None and spec.skip.kind in FIXED_SKIPS


def check_family(spec: ArchSpec) -> None:
    """Check that a network is of SPAN's family: [conv_stack] spab ... [conv] and a fusion.

    Raises:
        ValueError: it has other parts.
    """
    more = [name for name in ("wrap", "scaled_taps", "tail", "residuals") if getattr(spec, name)]
    attentions = {str(dict(block.args).get("attention", "none")) for block in spec.blocks}
    more += [f"attention {name}" for name in sorted(attentions - VALUEWISE.keys())]
    if more:
        raise ValueError(
            f"{', '.join(more)}: no weights are inherited over that; start such a network afresh"
        )

    # One other layer may stand before the spabs, and one after them.
    kinds = [block.kind for block in spec.blocks]
    body = kinds[kinds[0] == "conv_stack" : len(kinds) - (kinds[-1] == "conv")]
    if set(body) - {"spab"} or (spec.stem is None and kinds[0] != "conv_stack"):
        raise ValueError(
            "blocks must be spabs after a stem or a conv_stack, with at most one conv at the end, "
            f"to inherit weights, got {kinds}; start such a network afresh"
        )


def convolution(module: object) -> nn.Conv2d:
    """Return a module as the plain convolution that it is in inference form."""
    assert isinstance(module, nn.Conv2d)
    return module
