"""What a network computes, operator by operator, held against what an engine has."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Condition = Callable[..., str | None]  # takes an operator's arguments; says what an engine lacks
CHANNELS = 1  # the axis of channels in (N, C, H, W)
TRIAL_SIZE = (20, 24)  # of the image that is sent through, in pixels


def check_operators(net: nn.Module, known: Mapping[str, Condition]) -> None:
    """Check that an engine has every operator of a network.

    One small image is sent through, and the first operator that is missing ends that: so a network
    of any size is refused within a second.

    Args:
        known: by an operator's name without a trailing underscore, such as `aten.silu`, what else
            has to hold for it.
    Raises:
        ValueError: an operator is missing; the message names it and its place.
    """
    device = next(net.parameters()).device
    image = torch.rand(1, 3, *TRIAL_SIZE, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad(), _follow_modules(net) as places, _OperatorCheck(known, places):
        net(image)


def take_any(*args: Any, **options: Any) -> str | None:
    """Take an operator whatever its arguments are."""
    return None


def take_convolution(image: Tensor, weight: Tensor, bias: Any, *options: Any) -> str | None:
    """Take every convolution that is not transposed."""
    _, _, _, transposed, _, _ = options
    return "transposed" if transposed else None


def take_same_convolution(image: Tensor, weight: Tensor, bias: Any, *options: Any) -> str | None:
    """Take convolutions that keep height and width, by zeros around the map."""
    stride, padding, dilation, transposed, _, _ = options
    reach = [size // 2 for size in weight.shape[2:]]
    is_plain = not transposed and set(stride) == set(dilation) == {1}
    is_centred = list(padding) == reach and all(size % 2 for size in weight.shape[2:])
    return None if is_plain and is_centred else "with a stride, a dilation or another size"


def take_same_layout(left: Any, right: Any = None, *, alpha: float = 1) -> str | None:
    """Take sums and products of features with features, numbers, or a number a channel."""
    if alpha != 1:
        return f"with alpha={alpha:g}"
    for operand in (left, right):
        is_layout = isinstance(operand, Tensor) and operand.ndim not in (0, 4)
        if is_layout:
            return f"of a tensor of shape {tuple(operand.shape)}"
    return None


def take_exact(image: Tensor, *, approximate: str = "none") -> str | None:
    """Take a GELU by the error function."""
    return None if approximate == "none" else f"with approximate={approximate}"


def take_channels(tensors: Any, *options: Any) -> str | None:
    """Take a concatenation of channels."""
    axis = options[-1] if options else 0
    return None if axis in (CHANNELS, CHANNELS - 4) else f"along axis {axis}"


def take_channel_split(image: Tensor, sizes: Any, axis: int = 0) -> str | None:
    """Take a split of the channels."""
    return None if axis in (CHANNELS, CHANNELS - 4) else f"along axis {axis}"


def take_fixed_resize(image: Tensor, size: Any, *options: Any) -> str | None:
    """Take an enlargement by a fixed factor with half-pixel centres."""
    *align, height, width = options
    if any(align) or height is None or width is None:
        return "to the size of another tensor"
    return None if height == width and height == int(height) else f"by {height} and {width}"


# What every engine of convolutions has; a convolution itself each takes in its own way.
USUAL: dict[str, Condition] = {
    "aten.add": take_same_layout,
    "aten.sub": take_same_layout,
    "aten.mul": take_same_layout,
    "aten.relu": take_any,
    "aten.leaky_relu": take_any,
    "aten.silu": take_any,
    "aten.gelu": take_exact,
    "aten.hardswish": take_any,
    "aten.sigmoid": take_any,
    "aten.hardsigmoid": take_any,
    "aten.cat": take_channels,
    "aten.split": take_channel_split,
    "aten.pixel_shuffle": take_any,
    "aten.upsample_bilinear2d": take_fixed_resize,
    "aten.upsample_nearest2d": take_fixed_resize,
    "aten.upsample_bicubic2d": take_fixed_resize,
}


class _OperatorCheck(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises at the first operator that an engine lacks, with its place.

    Args:
        places: the modules that run, the outermost first; it changes as they run.
    """

    def __init__(self, known: Mapping[str, Condition], places: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known, self._places = known, places

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # In place or not is PyTorch's concern: no engine sees it.
        name = str(func).rpartition(".")[0].removesuffix("_")
        condition = self._known.get(name)
        reason = "" if condition is None else condition(*args, **(kwargs or {}))
        if reason is not None:
            place = self._places[-1] or "the network itself"
            why = f" {reason}" if reason else ""
            raise ValueError(
                f"it lacks {name}{why}, an operator of {place}; formats=[onnx] may take this network"
            )
        return func(*args, **(kwargs or {}))


@contextmanager
def _follow_modules(net: nn.Module) -> Iterator[list[str]]:
    """Yield the paths of the modules that run now, kept while the network runs."""
    places = [""]

    def watch(name: str, module: nn.Module) -> list[Any]:
        enter = module.register_forward_pre_hook(lambda *_: places.append(name))
        leave = module.register_forward_hook(lambda *_: [places.pop(), None][1])
        return [enter, leave]

    handles = [handle for name, module in net.named_modules() for handle in watch(name, module)]
    try:
        yield places
    finally:
        for handle in handles:
            handle.remove()
