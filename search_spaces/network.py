"""The one assembler: a spec becomes a module here and nowhere else."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.blocks.context import Context, call, reads_context
from search_spaces.frame import PixelShuffle, div2k_mean
from search_spaces.layers.conv import plain_conv
from search_spaces.limits import MAX_PARAMS
from search_spaces.parts import Part, check_context, make_part, parts
from search_spaces.reparam import rep_convs
from search_spaces.reparam.forms import PLAIN, training_conv
from search_spaces.spec import FIXED_SKIPS, ArchSpec, BlockSpec, feature_of


class Network(nn.Module):
    """A network of the grammar: (N, 3, H, W) in [0, 1] -> (N, 3, scale*H, scale*W), not clamped."""

    mean: Tensor

    def __init__(self, spec: ArchSpec, *, train: bool) -> None:
        super().__init__()
        self.spec = spec
        made = _make_parts(spec, train)
        self.wrap = nn.ModuleList(_of(made, "wrap"))
        self.stem = made.get("stem")
        self.blocks = nn.ModuleDict(
            {str(i): block for i, block in enumerate(_of(made, "block"), start=1)}
        )
        self.tap_scales = nn.ModuleList(_of(made, "tap"))
        self.fusion, tail = made["fusion"], _of(made, "tail")
        self.tail = nn.Sequential(*tail) if tail else nn.Identity()
        self.residuals = nn.ModuleList(_of(made, "residual"))
        upsampler, self.skip = made["upsampler"], made.get("skip")
        assert isinstance(upsampler, PixelShuffle)
        self.upsampler = upsampler
        self.kept = frozenset(spec.taps) | {feature_of(residual) for residual in spec.residuals}
        check_context(list(made.items()))
        for name, block in self.blocks.items():
            if f"block{name}.inner" in self.kept and not hasattr(block, "forward_with_inner"):
                kind = spec.blocks[int(name) - 1].kind
                raise ValueError(
                    f"taps: block{name}.inner is not there, a {kind!r} block has no inner feature"
                )
        self.register_buffer("mean", div2k_mean(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(
                f"image must be RGB, (N, 3, H, W), got {tuple(image.shape)}; x.expand(-1, 3, -1, -1) for grey"
            )
        entered: list[Any] = []
        for layer in self.wrap:
            entered.append((layer, image))
            image = layer.enter(image)  # type: ignore[operator]
        out = self._upscale_image(image)
        for layer, before in reversed(entered):
            out = layer.leave(out, before)
        return out

    def _upscale_image(self, image: Tensor) -> Tensor:
        features = dict(self._run_body(image))
        taps = [features[tap] for tap in self.spec.taps]
        if self.spec.scaled_taps:
            taps = [scale(tap) for scale, tap in zip(self.tap_scales, taps, strict=True)]
        fused: Tensor = self.fusion(torch.cat(taps, 1) if len(taps) > 1 else taps[0])
        fused = self.tail(fused)
        for residual, layer in zip(self.spec.residuals, self.residuals, strict=True):
            fused = fused + layer(features[feature_of(residual)])
        out: Tensor = self.upsampler(fused)
        fixed = self.spec.skip is not None and self.spec.skip.kind in FIXED_SKIPS
        return out + features["skip"] if fixed else out

    def _run_body(self, image: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The features that are read after the body, each as soon as it is there."""
        if self.skip is not None:
            yield "skip", self.skip(image)
        x = 255.0 * (image - self.mean) if self.spec.normalise else image
        context: Context = {"image": x}
        if self.stem is not None:
            x = self.stem(x)
            if "stem" in self.kept:
                yield "stem", x
        for name, block in self.blocks.items():
            if f"block{name}.inner" in self.kept:
                extra = (context,) if reads_context(block) else ()
                x, inner = block.forward_with_inner(x, *extra)  # type: ignore[operator]
                yield f"block{name}.inner", inner
            else:
                x = call(block, x, context)
            if f"block{name}" in self.kept:
                yield f"block{name}", x

    def fold(self) -> "Network":
        """A copy in inference form: every training form computed once and kept."""
        plain = build(self.spec).to(next(self.parameters()).device, next(self.parameters()).dtype)
        state = self.state_dict()
        for name, module in rep_convs(self):
            state = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
            weight, bias = module.merged()
            state[f"{name}.weight"] = weight.detach()
            if bias is not None:
                state[f"{name}.bias"] = bias.detach()
        plain.load_state_dict(state)
        return plain.train(self.training)

    def unfold(self, *, seed: int) -> "Network":
        """A copy in the training form that the spec names, of the same function: the inverse of `fold`.

        The branches start as PyTorch starts them; of each convolution one branch then takes what they lack.
        A network without training forms, or in its training form already, is copied.

        Args:
            seed: of the fresh branches; the global generator is left as it was.
        """
        if next(rep_convs(self), None):
            return copy.deepcopy(self)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = build(self.spec, train=True)
        made = made.to(next(self.parameters()).device, next(self.parameters()).dtype)
        state = self.state_dict()
        for name, module in rep_convs(made):
            module.from_plain(state.pop(f"{name}.weight"), state.pop(f"{name}.bias", None))
        made.load_state_dict(made.state_dict() | state)
        return made.train(self.training)


def build(spec: ArchSpec, *, train: bool = False) -> Network:
    """Make the network of a spec, as PyTorch starts its layers; learned gates start near one.

    A search starts its trainings otherwise: `search_spaces.initialise.initial_network`.

    Args:
        spec: the architecture.
        train: hold dense convolutions of 3x3 or larger in the spec's training forms, which `Network.fold`
            folds; the same function for the same merged kernels, see `Network.unfold`.

    Raises:
        ValueError: a kind, an argument or a training form is not known, or the parts do not fit; the message
            names the part.
    """
    net = Network(spec, train=train)
    return net if train else net.eval()


def _of(made: dict[str, nn.Module], kind: str) -> list[nn.Module]:
    """The parts of one kind, in order."""
    return [part for name, part in made.items() if name.rstrip("0123456789") == kind]


def _make_parts(spec: ArchSpec, train: bool) -> dict[str, nn.Module]:
    """The parts by their names, each made while those before it are within the limit of parameters."""
    made: dict[str, nn.Module] = {}
    num_params = 0
    for part in parts(spec):
        made[part.name] = _made(spec, part, train)
        num_params += sum(weight.numel() for weight in made[part.name].parameters())
        if num_params > MAX_PARAMS:
            raise ValueError(
                f"{part.name}: with it the network has {num_params:,} parameters; a super-resolution network "
                f"here has at most {MAX_PARAMS:,}: take fewer channels or blocks"
            )
    return made


def _made(spec: ArchSpec, part: Part, train: bool) -> nn.Module:
    """A part, its dense convolutions in its own training form, else in that of stem and blocks."""
    form = (
        part.block.train_form
        or (spec.train_form if part.is_feature else None)
        or BlockSpec.of(PLAIN)
    )
    try:
        make_conv = training_conv(form)
    except ValueError as error:
        raise ValueError(f"{part.name}: {error}") from error
    return make_part(part, spec.scale, make_conv if train else plain_conv)
