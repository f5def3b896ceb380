"""The one assembler: a spec becomes a module here and nowhere else."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.blocks.context import Context, call, reads_context
from search_spaces.frame import PixelShuffle, div2k_mean
from search_spaces.layers.conv import plain_conv
from search_spaces.limits import MAX_PARAMS
from search_spaces.parts import Part, Role, check_context, make_part, parts
from search_spaces.reparam import rep_convs
from search_spaces.reparam.forms import PLAIN, training_conv
from search_spaces.spec import FIXED_SKIPS, ArchSpec, BlockSpec, feature_of

PIXEL_RANGE = 255.0  # SPAN's body sees pixels in [0, 255]


class Network(nn.Module):
    """A network of the grammar: (N, 3, H, W) in [0, 1] -> (N, 3, scale*H, scale*W), not clamped."""

    mean: Tensor

    def __init__(self, spec: ArchSpec, *, train: bool) -> None:
        super().__init__()
        self.spec = spec
        made = _make_modules(spec, train)
        check_context(made)

        # Names and order of these attributes are those of the state dict, which files of weights
        # and optimisers hold: keep both.
        self.wrap = nn.ModuleList(_list_of_role(made, "wrap"))
        self.stem = _find_role(made, "stem")
        blocks = enumerate(_list_of_role(made, "block"), start=1)
        self.blocks = nn.ModuleDict({str(i): block for i, block in blocks})
        self.tap_scales = nn.ModuleList(_list_of_role(made, "tap"))
        self.fusion = _list_of_role(made, "fusion")[0]
        tail = _list_of_role(made, "tail")
        self.tail = nn.Sequential(*tail) if tail else nn.Identity()
        self.residuals = nn.ModuleList(_list_of_role(made, "residual"))
        self.skip = _find_role(made, "skip")
        upsampler = _list_of_role(made, "upsampler")[0]
        assert isinstance(upsampler, PixelShuffle)
        self.upsampler = upsampler
        self.register_buffer("mean", div2k_mean(), persistent=False)

        # Features that are read after the body: `forward` keeps these and frees the others.
        self.kept = frozenset(spec.taps) | {feature_of(residual) for residual in spec.residuals}
        self._check_inner_features()

    def _check_inner_features(self) -> None:
        for name, block in self.blocks.items():
            if f"block{name}.inner" in self.kept and not hasattr(block, "forward_with_inner"):
                kind = self.spec.blocks[int(name) - 1].kind
                raise ValueError(
                    f"taps: block{name}.inner is not there, a {kind!r} block has no inner feature"
                )

    def forward(self, image: Tensor) -> Tensor:
        return self.forward_with_features(image, ())[0]

    def forward_with_features(
        self, image: Tensor, names: Iterable[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image, and features by name, (N, C, H, W) each.

        Args:
            names: as an architecture's taps: stem, block1, ..., block3.inner.
        Raises:
            ValueError: the image is no RGB image, or a feature is not there.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(
                f"image must be RGB, (N, 3, H, W), got {tuple(image.shape)}; "
                "x.expand(-1, 3, -1, -1) for grey"
            )

        # What the wraps do to the image (padding, centring) is undone in reverse order at the end.
        entered: list[Any] = []
        for layer in self.wrap:
            entered.append((layer, image))
            image = layer.enter(image)  # type: ignore[operator]

        wanted = frozenset(names)
        features = dict(self._run_body(image, self.kept | wanted))
        if not wanted <= features.keys():
            unknown = ", ".join(sorted(wanted - features.keys()))
            raise ValueError(f"the network has no feature {unknown}; see the taps of its spec")
        out = self._upscale_features(features)
        for layer, before in reversed(entered):
            out = layer.leave(out, before, self.spec.scale)
        return out, {name: features[name] for name in wanted}

    def _upscale_features(self, features: dict[str, Tensor]) -> Tensor:
        taps = [features[tap] for tap in self.spec.taps]
        if self.spec.scaled_taps:
            taps = [scale(tap) for scale, tap in zip(self.tap_scales, taps, strict=True)]

        fused: Tensor = self.fusion(torch.cat(taps, 1) if len(taps) > 1 else taps[0])
        fused = self.tail(fused)
        for residual, layer in zip(self.spec.residuals, self.residuals, strict=True):
            fused = fused + layer(features[feature_of(residual)])

        # A learned skip branch is a tap; a fixed one is an image, added to the output.
        out: Tensor = self.upsampler(fused)
        fixed = self.spec.skip is not None and self.spec.skip.kind in FIXED_SKIPS
        return out + features["skip"] if fixed else out

    def _run_body(self, image: Tensor, kept: frozenset[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield the features of `kept`, by name, each as soon as it is there."""
        if self.skip is not None:
            yield "skip", self.skip(image)
        x = PIXEL_RANGE * (image - self.mean) if self.spec.normalise else image
        context: Context = {"image": x}

        if self.stem is not None:
            x = self.stem(x)
            if "stem" in kept:
                yield "stem", x

        for name, block in self.blocks.items():
            if f"block{name}.inner" in kept:
                extra = (context,) if reads_context(block) else ()
                x, inner = block.forward_with_inner(x, *extra)  # type: ignore[operator]
                yield f"block{name}.inner", inner
            else:
                x = call(block, x, context)
            if f"block{name}" in kept:
                yield f"block{name}", x

    def fold(self) -> "Network":
        """Return a copy in inference form: each training form is computed once, as a kernel.

        Example:
            >>> import torch
            >>> from search_spaces import build, published
            >>> net = build(published("spanf"), train=True).eval()
            >>> image = torch.rand(1, 3, 8, 8)
            >>> torch.allclose(net(image), net.fold()(image), atol=1e-5)
            True
        """
        weights = next(self.parameters())
        plain = build(self.spec).to(weights.device, weights.dtype)
        state = self.state_dict()

        # Of each training form the branches leave the state, and the kernel they merge to comes in.
        for name, module in rep_convs(self):
            state = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
            weight, bias = module.merged()
            state[f"{name}.weight"] = weight.detach()
            if bias is not None:
                state[f"{name}.bias"] = bias.detach()

        plain.load_state_dict(state)
        return plain.train(self.training)

    def unfold(self, *, seed: int) -> "Network":
        """Return a copy of the same function in the training form that the spec names.

        The inverse of `fold`. The branches start as PyTorch starts them; of each convolution one
        branch then takes what the others lack. A network without training forms, or in its training
        form already, is copied.

        Args:
            seed: of the fresh branches; the global generator is left as it was.
        """
        if next(rep_convs(self), None):
            return copy.deepcopy(self)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trained = build(self.spec, train=True)

        weights = next(self.parameters())
        trained = trained.to(weights.device, weights.dtype)

        # The branches take each kernel; what is left of the state is alike in both forms.
        state = self.state_dict()
        for name, module in rep_convs(trained):
            # The start of a branch does not matter for the function, so any seed gives the same
            # network.
            module.from_plain(state.pop(f"{name}.weight"), state.pop(f"{name}.bias", None))

        trained.load_state_dict(trained.state_dict() | state)
        return trained.train(self.training)


def build(spec: ArchSpec, *, train: bool = False) -> Network:
    """Return a new network of a spec, started as PyTorch starts its layers.

    Learned gates start near one.

    A search starts its trainings otherwise: `search_spaces.initialise.initial_network`.

    Args:
        spec: the architecture.
        train: hold dense convolutions of 3x3 or larger in the spec's training forms, which
            `Network.fold` folds; the same function for the same merged kernels, see
            `Network.unfold`.

    Raises:
        ValueError: a kind, an argument or a training form is not known, or the parts do not fit;
            the message names the part.

    Example:
        >>> import torch
        >>> from search_spaces import build, published
        >>> net = build(published("spanv2"))
        >>> net(torch.rand(1, 3, 12, 16)).shape
        torch.Size([1, 3, 48, 64])
        >>> net.spec == published("spanv2")
        True
    """
    net = Network(spec, train=train)
    return net if train else net.eval()


Made = list[tuple[Part, nn.Module]]  # the parts of a network with their modules, in order


def _list_of_role(made: Made, role: Role) -> list[nn.Module]:
    """List the modules of one role, in order."""
    return [module for part, module in made if part.role == role]


def _find_role(made: Made, role: Role) -> nn.Module | None:
    """Return the module of a role that a network has once at most; None where it has none."""
    return next(iter(_list_of_role(made, role)), None)


def _make_modules(spec: ArchSpec, train: bool) -> Made:
    """Make the parts one by one, as long as those so far are within the limit of parameters.

    Raises:
        ValueError: a part cannot be made, or makes the network too large; the message names it.
    """
    made: Made = []
    num_params = 0

    for part in parts(spec):
        module = _make_module(spec, part, train)
        made.append((part, module))
        # Counted part by part: a network too large is refused before its memory is taken.
        num_params += sum(weight.numel() for weight in module.parameters())
        if num_params > MAX_PARAMS:
            raise ValueError(
                f"{part.name}: with it the network has {num_params:,} parameters; a "
                "super-resolution network "
                f"here has at most {MAX_PARAMS:,}: take fewer channels or blocks"
            )

    return made


def _make_module(spec: ArchSpec, part: Part, train: bool) -> nn.Module:
    """Make a part, its dense convolutions in its own training form, else in the usual one."""
    shared = spec.train_form if part.is_feature else None
    form = part.block.train_form or shared or BlockSpec.of(PLAIN)
    try:
        make_conv = training_conv(
            form
        )  # the form is checked for the inference form of a network too
    except ValueError as error:
        raise ValueError(f"{part.name}: {error}") from error
    return make_part(part, spec.scale, make_conv if train else plain_conv)
