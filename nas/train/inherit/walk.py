"""The walk through parent and child side by side, from the image to the last block."""

import torch
from torch import Tensor, nn

from nas.train.inherit.fitting import Fit
from nas.train.inherit.gates import fit_gate
from nas.train.inherit.matching import match
from nas.train.inherit.plan import Plan
from nas.train.inherit.teacher import Teacher, convolution, network_input
from nas.train.inherit.views import View, choose
from search_spaces.blocks.conv import ConvStack
from search_spaces.blocks.spab import SPAB
from search_spaces.layers.activation import ACTIVATIONS
from search_spaces.network import Network


class Walk:
    """Fits a child's stem and blocks in the order in which they run.

    Attributes:
        taps: the child's features (N, C, H, W), by the child's name.
        views: how such a feature is read as its parent's, for those that have one.
        sources: the parent's name of the same features.
        theirs: the parent's features (rows, C), by the parent's name.
    """

    def __init__(self, teacher: Teacher, child: Network, plan: Plan) -> None:
        self.teacher, self.child, self.plan = teacher, child, plan
        self.pixels = teacher.pixels
        self.theirs = teacher.features
        self.taps: dict[str, Tensor] = {}
        self.views: dict[str, View] = {}
        self.sources: dict[str, str] = {}

    def run(self) -> None:
        """Set the weights of near-pixel branch, stem and blocks, in this order."""
        child, parent = self.child, self.teacher.net
        if isinstance(child.skip, nn.Conv2d):
            self._run_skip(child.skip)

        # Parent and child may differ in how they normalise the image.
        x = network_input(child, self.teacher.images)
        parent_x = network_input(parent, self.teacher.images)
        view = View.between(torch.eye(3), self.pixels.rows(parent_x), self.pixels.rows(x))

        if child.stem is not None:
            down = self.plan.trunk(0)
            target = self.theirs[self.plan.output(0)] @ down.T
            x = self._fit_and_run(child.stem, parent.stem, x, view, down, target)
            view = self._record_view("stem", down, self.plan.output(0), x)

        for i, block in enumerate(child.blocks.values(), start=1):
            x, view = self._run_block(i, block, x, view)

    def _run_block(self, i: int, block: nn.Module, x: Tensor, view: View) -> tuple[Tensor, View]:
        """Fit block i; return its output (N, C, H, W) and how that is read as the parent's."""
        source_number = self.plan.source(i)
        source = self.teacher.net.blocks[str(source_number)] if source_number else None
        if isinstance(block, SPAB):
            assert source is None or isinstance(source, SPAB)
            x = self._run_spab(i, block, source, x, view)
        elif isinstance(block, ConvStack):
            assert isinstance(source, ConvStack)
            x = self._run_stack(i, block, source, x, view)
        else:
            # The convolution after the blocks: its channels are free, so they are chosen anew.
            down, theirs = self.plan.last(), f"block{source_number}"
            x = self._fit_and_run(block, source, x, view, down, self.theirs[theirs] @ down.T)
            return x, self._record_view(f"block{i}", down, theirs, x)

        return x, self._record_view(f"block{i}", self.plan.trunk(i), self.plan.output(i), x)

    def _run_skip(self, branch: nn.Conv2d) -> None:
        """Set the near-pixel branch: the parent's weights if they fit, else its own start."""
        source = self.teacher.net.skip
        if isinstance(source, nn.Conv2d) and source.weight.shape == branch.weight.shape:
            branch.weight.copy_(source.weight)
            if branch.bias is not None and source.bias is not None:
                branch.bias.copy_(source.bias)

        self.taps["skip"] = branch(self.teacher.images)
        if "skip" in self.theirs:
            width = branch.out_channels
            rows = self.pixels.rows(self.taps["skip"])
            self.sources["skip"] = "skip"
            self.views["skip"] = View.between(torch.eye(width), self.theirs["skip"], rows)

    def _record_view(self, name: str, down: Tensor, theirs: str, features: Tensor) -> View:
        """Record a feature of the child with its view of the parent's `theirs`; return the view."""
        self.taps[name] = features
        view = View.between(down, self.theirs[theirs], self.pixels.rows(features))
        self.views[name], self.sources[name] = view, theirs
        return view

    def _fit_and_run(
        self,
        conv: nn.Module,
        source: nn.Module | None,
        x: Tensor,
        view: View,
        down: Tensor,
        target: Tensor,
    ) -> Tensor:
        """Fit one convolution to the target (rows, kept); return its output (N, C, H, W)."""
        self._start_fit(conv, source, x, view, down).to(target)
        out: Tensor = conv(x)
        return out

    def _start_fit(
        self, conv: nn.Module, source: nn.Module | None, x: Tensor, view: View, down: Tensor
    ) -> Fit:
        """Start a convolution at the parent's kernel, as the child's channels see it."""
        ours, theirs = convolution(conv), convolution(source)
        fit = Fit(ours, x, self.pixels, kept=len(down))
        kernel = torch.einsum("ko,oihw,ij->kjhw", down, theirs.weight, view.up)
        fit.start(kernel, None if theirs.bias is None else down @ theirs.bias)
        return fit

    def _run_inner(
        self,
        i: int,
        block: SPAB | ConvStack,
        source: SPAB | ConvStack,
        x: Tensor,
        view: View,
    ) -> tuple[Tensor, View]:
        """Fit the two activated convolutions of a block; return the second's output and view."""
        act = ACTIVATIONS[block.activation]
        theirs = f"block{self.plan.source(i)}"
        for conv, source_conv, before, after, reader in (
            (block.conv1, source.conv1, "z1", "inner", source.conv2),
            (block.conv2, source.conv2, "z2", "a2", source.conv3),
        ):
            # An activation acts on single channels: each kept one has to be one of the parent's.
            ours = convolution(conv)
            down = choose(self.plan.inner_uses(theirs, after, reader), ours.out_channels)
            target = self.theirs[f"{theirs}.{before}"] @ down.T

            # Another activation: find the inputs for which it does most of what the parent's does.
            if block.activation != source.activation:
                target, _ = match(
                    lambda f, every: act(f, False),
                    [target],
                    self.theirs[f"{theirs}.{after}"] @ down.T,
                    target.std(0),
                    shift=ours.bias is not None,
                )

            x = act(self._fit_and_run(conv, source_conv, x, view, down, target), False)
            view = View.between(down, self.theirs[f"{theirs}.{after}"], self.pixels.rows(x))
            if after == "inner":
                name = f"block{i}.inner"
                self.taps[name], self.views[name] = x, view
                self.sources[name] = f"{theirs}.inner"

        return x, view

    def _run_stack(
        self, i: int, block: ConvStack, source: ConvStack, x: Tensor, view: View
    ) -> Tensor:
        """Fit a stack of three convolutions; return its output (N, C, H, W)."""
        x, view = self._run_inner(i, block, source, x, view)
        down = self.plan.trunk(i)
        target = self.theirs[self.plan.output(i)] @ down.T
        fit = self._start_fit(block.conv3, source.conv3, x, view, down)

        act = ACTIVATIONS[block.activation]
        if not block.activate_last:
            fit.to(target)
            linear: Tensor = block.conv3(x)
            return linear

        # With an activation after it, the convolution is fitted to what stands before that.
        fit.to(self.theirs[f"block{self.plan.source(i)}.f"] @ down.T)
        return act(block.conv3(x), False)

    def _run_spab(self, i: int, block: SPAB, source: SPAB | None, x: Tensor, view: View) -> Tensor:
        """Fit a SPAB, from the parent's block or, for a new one, afresh; return its output."""
        down = self.plan.trunk(i)
        passed = x
        if isinstance(block.shortcut, nn.Conv2d):
            passed = self._run_shortcut(i, block.shortcut, source, x, view)

        target = self.theirs[self.plan.output(i)] @ down.T
        if source is None:
            # A new block's third convolution starts at zero, so that the gate can pass x on.
            x = self._run_fresh(i, block, x)
            fit = Fit(convolution(block.conv3), x, self.pixels, kept=len(down))
            fit.start(torch.zeros_like(fit.conv.weight[: len(down)]), None)
            features = torch.zeros(len(target), down.shape[1])
        else:
            x, inner_view = self._run_inner(i, block, source, x, view)
            fit = self._start_fit(block.conv3, source.conv3, x, inner_view, down)
            features = self.theirs[f"block{self.plan.source(i)}.f"]

        fit_gate(block, source, down, fit, self.pixels.rows(passed), features, target)
        out: Tensor = block.attention(passed, block.conv3(x))
        return out

    def _run_shortcut(
        self, i: int, shortcut: nn.Conv2d, source: SPAB | None, x: Tensor, view: View
    ) -> Tensor:
        """Fit the 1x1 convolution that brings x to a block's own width; return its output."""
        down = self.plan.trunk(i)
        fit = Fit(shortcut, x, self.pixels, kept=len(down))
        theirs = self.theirs[f"block{self.plan.source(i)}.x" if source else self.plan.output(i)]

        # A parent without this convolution passes x on as it is.
        start = torch.eye(theirs.shape[1])
        if source and isinstance(source.shortcut, nn.Conv2d):
            start = source.shortcut.weight.flatten(1)
        if start.shape[1] == view.up.shape[0]:
            fit.start((down @ start @ view.up)[:, :, None, None], None)
        fit.to(theirs @ down.T)
        passed: Tensor = shortcut(x)
        return passed

    def _run_fresh(self, i: int, block: SPAB, x: Tensor) -> Tensor:
        """Scale the two activated convolutions of a new block to features of unit size."""
        for conv in (block.conv1, block.conv2):
            Fit(convolution(conv), x, self.pixels, kept=0).level(1.0)
            x = ACTIVATIONS[block.activation](conv(x), False)
            self.taps.setdefault(f"block{i}.inner", x)
        return x
