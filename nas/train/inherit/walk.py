"""The walk through parent and child side by side, from the image to the fused features."""

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
        taps: the child's features (N, C, H, W) by name.
        views, sources: of the features that have a parent's, by the child's name: how they are read as it,
            and its name.
    """

    def __init__(self, teacher: Teacher, child: Network, plan: Plan) -> None:
        self.teacher, self.child, self.plan = teacher, child, plan
        self.pixels = teacher.pixels
        self.theirs = teacher.features
        self.taps: dict[str, Tensor] = {}
        self.views: dict[str, View] = {}
        self.sources: dict[str, str] = {}

    def run(self) -> None:
        """Set the weights of stem, blocks and near-pixel branch."""
        child, parent = self.child, self.teacher.net
        if isinstance(child.skip, nn.Conv2d):
            self._run_skip(child.skip)
        x = network_input(child, self.teacher.images)
        seen = network_input(parent, self.teacher.images)
        view = View.between(torch.eye(3), self.pixels.rows(seen), self.pixels.rows(x))
        if child.stem is not None:
            down = self.plan.trunk(0)
            wanted = self.theirs[self.plan.output(0)] @ down.T
            x = self._convolve(child.stem, parent.stem, x, view, down, wanted)
            view = self._view("stem", down, self.plan.output(0), x)
        for i, block in enumerate(child.blocks.values(), start=1):
            name, theirs = f"block{i}", self.plan.source(i)
            source = parent.blocks[str(theirs)] if theirs else None
            if isinstance(block, SPAB):
                assert source is None or isinstance(source, SPAB)
                x = self._run_spab(i, block, source, x, view)
                view = self._view(name, self.plan.trunk(i), self.plan.output(i), x)
            elif isinstance(block, ConvStack):
                assert isinstance(source, ConvStack)
                x = self._run_stack(i, block, source, x, view)
                view = self._view(name, self.plan.trunk(i), self.plan.output(i), x)
            else:
                down = self.plan.last()
                wanted = self.theirs[f"block{theirs}"] @ down.T
                x = self._convolve(block, source, x, view, down, wanted)
                view = self._view(name, down, f"block{theirs}", x)

    def _run_skip(self, branch: nn.Conv2d) -> None:
        """The near-pixel branch: the parent's, or as it starts."""
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

    def _view(self, name: str, down: Tensor, theirs: str, features: Tensor) -> View:
        self.taps[name] = features
        view = View.between(down, self.theirs[theirs], self.pixels.rows(features))
        self.views[name], self.sources[name] = view, theirs
        return view

    def _convolve(
        self,
        conv: nn.Module,
        source: nn.Module | None,
        x: Tensor,
        view: View,
        down: Tensor,
        wanted: Tensor,
    ) -> Tensor:
        """Fit one convolution and give its output (N, C, H, W)."""
        self._fit(conv, source, x, view, down).to(wanted)
        out: Tensor = conv(x)
        return out

    def _fit(
        self, conv: nn.Module, source: nn.Module | None, x: Tensor, view: View, down: Tensor
    ) -> Fit:
        """The convolution at the parent's kernel, as the child's channels see it."""
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
        """The two activated convolutions of a block; gives the second's output and its view."""
        act = ACTIVATIONS[block.activation]
        theirs = f"block{self.plan.source(i)}"
        for conv, inner, z, a, reader in (
            (block.conv1, source.conv1, "z1", "inner", source.conv2),
            (block.conv2, source.conv2, "z2", "a2", source.conv3),
        ):
            ours = convolution(conv)
            down = choose(self.plan.inner_uses(theirs, a, reader), ours.out_channels)
            wanted = self.theirs[f"{theirs}.{z}"] @ down.T
            if block.activation != source.activation:
                wanted, _ = match(
                    lambda f, every: act(f, False),
                    [wanted],
                    self.theirs[f"{theirs}.{a}"] @ down.T,
                    wanted.std(0),
                    shift=ours.bias is not None,
                )
            x = act(self._convolve(conv, inner, x, view, down, wanted), False)
            view = View.between(down, self.theirs[f"{theirs}.{a}"], self.pixels.rows(x))
            if a == "inner":
                name = f"block{i}.inner"
                self.taps[name], self.views[name], self.sources[name] = x, view, f"{theirs}.inner"
        return x, view

    def _run_stack(
        self, i: int, block: ConvStack, source: ConvStack, x: Tensor, view: View
    ) -> Tensor:
        x, view = self._run_inner(i, block, source, x, view)
        down = self.plan.trunk(i)
        target = self.theirs[self.plan.output(i)] @ down.T
        fit = self._fit(block.conv3, source.conv3, x, view, down)
        act = ACTIVATIONS[block.activation]
        if not block.activate_last:
            fit.to(target)
            linear: Tensor = block.conv3(x)
            return linear
        fit.to(self.theirs[f"block{self.plan.source(i)}.f"] @ down.T)
        return act(block.conv3(x), False)

    def _run_spab(self, i: int, block: SPAB, source: SPAB | None, x: Tensor, view: View) -> Tensor:
        down = self.plan.trunk(i)
        passed = x
        if isinstance(block.shortcut, nn.Conv2d):
            fit = Fit(block.shortcut, x, self.pixels, kept=len(down))
            theirs = self.theirs[f"block{self.plan.source(i)}.x" if source else self.plan.output(i)]
            start = torch.eye(theirs.shape[1])
            if source and isinstance(source.shortcut, nn.Conv2d):
                start = source.shortcut.weight.flatten(1)
            if start.shape[1] == view.up.shape[0]:
                fit.start((down @ start @ view.up)[:, :, None, None], None)
            fit.to(theirs @ down.T)
            passed = block.shortcut(x)
        target = self.theirs[self.plan.output(i)] @ down.T
        if source is None:
            x = self._run_fresh(i, block, x)
            fit = Fit(convolution(block.conv3), x, self.pixels, kept=len(down))
            fit.start(torch.zeros_like(fit.conv.weight[: len(down)]), None)
            features = torch.zeros(len(target), down.shape[1])
        else:
            x, inner_view = self._run_inner(i, block, source, x, view)
            fit = self._fit(block.conv3, source.conv3, x, inner_view, down)
            features = self.theirs[f"block{self.plan.source(i)}.f"]
        fit_gate(block, source, down, fit, self.pixels.rows(passed), features, target)
        out: Tensor = block.attention(passed, block.conv3(x))
        return out

    def _run_fresh(self, i: int, block: SPAB, x: Tensor) -> Tensor:
        """The two activated convolutions of a new block, scaled to features of unit size."""
        for conv in (block.conv1, block.conv2):
            Fit(convolution(conv), x, self.pixels, kept=0).level(1.0)
            x = ACTIVATIONS[block.activation](conv(x), False)
            self.taps.setdefault(f"block{i}.inner", x)
        return x
