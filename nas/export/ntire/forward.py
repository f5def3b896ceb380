"""The forward of a whole network, as a person would write it for that network alone."""

from collections.abc import Callable

from search_spaces.blocks.context import reads_context
from search_spaces.network import PIXEL_RANGE, Network
from search_spaces.spec import FIXED_SKIPS, feature_of


def print_forward(net: Network, *, has_fusion: bool, pad: Callable[[str], str]) -> list[str]:
    """Return the lines of a network's forward.

    Args:
        has_fusion: whether the tapped features go through a layer.
        pad: gives the call that pads the image of that name.
    """
    return _Forward(net, has_fusion, pad).print_lines()


class _Forward:
    """Writes the statements in the order in which the network computes.

    Attributes:
        names: the local name of each feature that is read after the body.
        at: the local name of the features so far.
    """

    def __init__(self, net: Network, has_fusion: bool, pad: Callable[[str], str]) -> None:
        self.net, self.spec, self.has_fusion, self.pad = net, net.spec, has_fusion, pad
        self.lines: list[str] = []
        self.names: dict[str, str] = {}
        self.at = "image"

    def print_lines(self) -> list[str]:
        self._enter()
        self._run_body()
        self._fuse()
        self._leave()
        return ["def forward(self, image):", *(f"    {line}" for line in self.lines)]

    def _enter(self) -> None:
        """Pad and centre the image, and branch off what goes past the body."""
        for layer in self.spec.wrap:
            if layer.kind == "pad":
                self.lines.append("height, width = image.shape[2:]")
                self.lines.append(f"image = {self.pad('image')}")
            else:
                self.lines.append("image = image - self.mean")
        if self.spec.skip and self.spec.skip.kind not in FIXED_SKIPS:
            self.names["skip"] = "skip"
            self.lines.append("# Past the body: each pixel repeated, before the pixel shuffle.")
            self.lines.append("skip = self.skip(image)")
        if self.spec.normalise:
            self.lines.append("# The body sees pixels in [0, 255], around their mean.")
            self.lines.append(f"x = {PIXEL_RANGE} * (image - self.mean)")
            self.at = "x"

    def _run_body(self) -> None:
        blocks = list(self.net.blocks.values())
        reads = {name for block in blocks for name in getattr(block, "reads", ())}
        if any(reads_context(block) for block in blocks):
            held = f'"image": {self.at}' if "image" in reads else ""
            self.lines.append(f"context = {{{held}}}")

        if self.net.stem is not None:
            name = "stem" if "stem" in self.net.kept else "x"
            self.lines.append(f"{name} = self.stem({self.at})")
            self.names["stem"] = self.at = name
        if self._gathers_blocks():
            self._gather_blocks()
            return

        i = 1
        while i <= len(blocks):
            last = self._find_run(i)
            if last > i:
                self._loop(i, last)
            else:
                self._call_block(i)
            i = last + 1

    def _gathers_blocks(self) -> bool:
        """Return whether the outputs of all blocks, and nothing else, are fused."""
        names = tuple(f"block{i}" for i in range(1, len(self.spec.blocks) + 1))
        others = {feature_of(residual) for residual in self.spec.residuals}
        alike = len({reads_context(block) for block in self.net.blocks.values()}) == 1
        return self.spec.taps == names and len(names) > 1 and others <= {"stem", "skip"} and alike

    def _gather_blocks(self) -> None:
        extra = ", context" if reads_context(self.net.blocks["1"]) else ""
        self._name_x()
        self.lines += [
            "features = []",
            "for block in self.blocks.values():",
            f"    x = block(x{extra})",
            "    features.append(x)",
        ]

    def _find_run(self, first: int) -> int:
        """Return the last block of a row that a loop can run: alike, and nothing kept of them."""
        last, kept = first - 1, self.net.kept
        for i in range(first, len(self.spec.blocks) + 1):
            is_last = i == len(self.spec.blocks)  # kept or not, its output is where the loop ends
            is_kept = f"block{i}" in kept and not is_last
            alike = reads_context(self.net.blocks[str(i)]) == reads_context(
                self.net.blocks[str(first)]
            )
            if is_kept or f"block{i}.inner" in kept or not alike:
                break
            last = i
        return max(first, last)

    def _loop(self, first: int, last: int) -> None:
        extra = ", context" if reads_context(self.net.blocks[str(first)]) else ""
        self._name_x()
        num_blocks = len(self.spec.blocks)
        if (first, last) == (1, num_blocks):
            self.lines += ["for block in self.blocks.values():", f"    x = block(x{extra})"]
        else:
            self.lines.append(f"for i in range({first}, {last + 1}):")
            self.lines.append(f"    x = self.blocks[str(i)](x{extra})")
        self.names[f"block{last}"] = "x"

    def _call_block(self, i: int) -> None:
        """Call one block, and keep what is read of it later."""
        kept, is_last = self.net.kept, i == len(self.spec.blocks)
        extra = ", context" if reads_context(self.net.blocks[str(i)]) else ""
        name = f"block{i}" if f"block{i}" in kept and not is_last else "x"
        self.names[f"block{i}"] = name
        if f"block{i}.inner" in kept:
            inner = f"inner{i}"
            self.names[f"block{i}.inner"] = inner
            call = f'self.blocks["{i}"].forward_with_inner({self.at}{extra})'
            self.lines.append(f"{name}, {inner} = {call}")
        else:
            self.lines.append(f'{name} = self.blocks["{i}"]({self.at}{extra})')
        self.at = name

    def _name_x(self) -> None:
        """Give the features so far the name that loops overwrite."""
        if self.at != "x":
            self.lines.append(f"x = {self.at}")
        self.at = "x"

    def _fuse(self) -> None:
        """Join the tapped features, and add what is read beside them."""
        spec = self.spec
        if len(spec.taps) > 1:
            self.lines += ["", "# Features of several depths make the image together."]
        if self._gathers_blocks():
            taps = "features"
        else:
            taps = ", ".join(self.names[tap] for tap in spec.taps)
            taps = f"[{taps}]" if len(spec.taps) > 1 else taps

        if spec.scaled_taps and len(spec.taps) == 1:
            taps = f"self.tap_scales[0]({taps})"
        elif spec.scaled_taps:
            scaled = f"[scale(feature) for scale, feature in zip(self.tap_scales, {taps})]"
            self.lines.append(f"features = {scaled}")
            taps = "features"
        joined = f"torch.cat({taps}, 1)" if len(spec.taps) > 1 else taps
        fused = f"self.fusion({joined})" if self.has_fusion else joined
        if spec.tail:
            fused = f"self.tail({fused})"

        residuals = [self._show_residual(i) for i in range(len(spec.residuals))]
        self.at = fused if not residuals else " + ".join([fused, *residuals])

    def _show_residual(self, i: int) -> str:
        """Return what a residual adds."""
        residual = self.spec.residuals[i]
        feature = self.names[feature_of(residual)]
        return feature if residual.kind == "identity" else f"self.residuals[{i}]({feature})"

    def _leave(self) -> None:
        """Make the image, and undo what was done to it first."""
        if self.at != "x":
            self.lines.append(f"x = {self.at}")
        out = "self.upsampler(x)"
        if self.spec.skip and self.spec.skip.kind in FIXED_SKIPS:
            out = f"{out} + self.skip(image)"

        for layer in reversed(self.spec.wrap):
            args = dict(layer.args)
            if layer.kind == "pad":
                self.lines.append(f"out = {out}")
                scale = self.spec.scale
                out = f"out[:, :, : {scale} * height, : {scale} * width]"
            elif args["restore"]:
                out = f"{out} + self.mean"
        self.lines.append(f"return {out}")
