"""What is exact without training: parameters, FLOPs, activations, convolutions, memory of a spec.

"FLOPs" are multiply-accumulates, here and everywhere in this project, as the challenge and fvcore
count them: convolutions and matrix products, a nearest upsampling at 1 and a bilinear one at 4 an
output element, a global average pooling at 1 and PyTorch's layer and group normalisation at 5 an
input element. Additions, activations, element-wise products and normalisations written out are
free. Nothing is computed: networks live on the meta device, so a count takes milliseconds and no
memory, and does not depend on the machine. A fused network counts as the plain one: its operators
(`nas.ops`) bring their formulas, and handles for fvcore.
"""

import functools
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from nas.record import Cost
from search_spaces.blocks.context import reads_context
from search_spaces.network import Network, build
from search_spaces.parts import Part, make_part, parts, read_width
from search_spaces.spec import ArchSpec, BlockSpec

SUMMED = ("params", "flops", "activations", "num_conv")
CHALLENGE_SIZE = (256, 256)  # height, width of the LR image at which the challenge counts
aten = torch.ops.aten


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What one layer of the inference form costs.

    A layer is a module without children, or what a module computes beside its children.

    Attributes:
        name: the module's path in the network; "network" for the whole.
        kind: the module's class.
        shape: of its output.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    params: int
    flops: int
    activations: int


def measure_cost(spec: ArchSpec, *, size: tuple[int, int] = CHALLENGE_SIZE) -> Cost:
    """Count what the inference form of a spec costs.

    Args:
        size: height and width of the LR image.
    Raises:
        ValueError: the spec cannot be built.

    Example:
        >>> from search_spaces import published
        >>> cost = measure_cost(published("span"))
        >>> cost.params, round(cost.flops / 1e9, 2), cost.num_conv
        (150688, 9.83, 22)
    """
    return count(_build_on_meta(spec), _make_image(size))


def summed_cost(spec: ArchSpec) -> dict[str, int]:
    """Return parameters, FLOPs, activations and convolutions at 256x256, summed over the parts.

    The values are those of `measure_cost`, and come some hundred times faster for many members of
    one space, which share most of their parts. The peak of live tensors is missing: it is no sum.
    """
    # A part costs the same in any place: "block7" is counted as "block", so the cache finds it.
    costs = [
        _count_part(replace(layer, name=layer.name.rstrip(string.digits)), spec.scale)
        for part in parts(spec)
        for layer in _open_group(part)
    ]
    return dict(zip(SUMMED, map(sum, zip(*costs, strict=True)), strict=True))


def _open_group(part: Part) -> Iterator[Part]:
    """Yield a part; or what a group holds, then the group around an identity.

    Groups of one space hold the same blocks, so the cache finds these too.
    """
    if not part.block.blocks:
        yield part
        return

    channels = part.in_channels
    for block in part.block.blocks:
        yield from _open_group(replace(part, block=block, in_channels=channels))
        channels = read_width(block, channels)
    yield replace(part, block=replace(part.block, blocks=(BlockSpec.of("identity"),)))


@functools.lru_cache(maxsize=10_000)
def _count_part(part: Part, scale: int) -> tuple[int, ...]:
    """Return the values named in `SUMMED` of one part alone."""
    with torch.device("meta"):
        module = make_part(part, scale).eval()
    # The frame around the other parts only adds and pads.
    if part.name == "wrap":
        return (0,) * len(SUMMED)

    image = torch.empty(1, part.in_channels, *CHALLENGE_SIZE, device="meta")
    cost = count(module, image, *_sample_context(module, image))
    return tuple(getattr(cost, name) for name in SUMMED)


def _sample_context(module: nn.Module, x: Tensor) -> list[Any]:
    """Return what a part is called with beside its input; most parts take nothing."""
    if not reads_context(module):
        return []
    sample: Callable[[Tensor], dict[str, Any]] = getattr(module, "sample_context", lambda x: {})
    return [sample(x)]


def count(network: nn.Module, image: Tensor, *more: Any) -> Cost:
    """Count one forward of a network in inference form, on whatever device it lies.

    Args:
        more: what else it is called with.
    """
    watch = _ForwardWatch([image, *network.parameters(), *network.buffers()])
    flops = _make_flop_counter()

    # Without gradients activations overwrite their input, as they do when a network is timed.
    with torch.no_grad(), flops, watch:
        network(image, *more)
    return Cost(
        params=num_parameters(network),
        flops=flops.get_total_flops() // 2,  # the counter takes two a multiply-accumulate
        activations=watch.activations,
        num_conv=watch.num_conv,
        memory_mib=watch.peak_bytes / 2**20,
    )


def layer_costs(spec: ArchSpec, *, size: tuple[int, int] = CHALLENGE_SIZE) -> list[LayerCost]:
    """Count each layer of the inference form, in the order in which they run.

    Args:
        size: height and width of the LR image.
    """
    network = _build_on_meta(spec)

    # On the meta device a forward takes milliseconds, whatever the size.
    outputs, flops = _run_watched(network, _make_image(size))

    costs = []
    for name, output in outputs.items():
        # A container costs what it computes itself, such as an addition of its branches.
        module = network.get_submodule(name)
        inside = [f"{name}.{child}".strip(".") for child, _ in module.named_modules() if child]
        # A module's count holds its children's, so what it computes itself is the difference.
        own = flops.get(name, 0) - sum(flops.get(child, 0) for child in _outermost(inside, flops))
        params = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if not own and not params and inside:
            continue

        costs.append(
            LayerCost(
                name=name or "network",
                kind=type(module).__name__,
                shape=tuple(output.shape),
                params=params,
                flops=own,
                activations=output.numel() if isinstance(module, nn.Conv2d | nn.Conv1d) else 0,
            )
        )

    return costs


def _run_watched(network: Network, image: Tensor) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Run a network once; return the output and the FLOPs of its modules, by their paths.

    The outputs are in the order in which the modules ended; identities are left out.
    """
    outputs: dict[str, Tensor] = {}

    # An identity computes nothing, and would be listed as a layer.
    for name, module in network.named_modules():
        if not isinstance(module, nn.Identity):
            module.register_forward_hook(_keep_output(outputs, name))

    counter = _make_flop_counter()
    with torch.no_grad(), counter:
        network(image)

    flops = {
        path.partition(".")[2]: sum(by_operator.values()) // 2
        for path, by_operator in counter.get_flop_counts().items()
        if path != "Global"
    }
    return outputs, flops


def _outermost(names: list[str], counted: Mapping[str, int]) -> Iterator[str]:
    """Yield the modules that were counted and lie in no other one that was.

    Args:
        names: paths of modules, parents before their children.
    """
    taken: list[str] = []
    for name in names:
        if name in counted and not any(name.startswith(f"{parent}.") for parent in taken):
            taken.append(name)
            yield name


def training_params(spec: ArchSpec) -> int:
    """Return the number of parameters of the training form, its branches included.

    It is for comparison alone: the score takes the inference form's.
    """
    return num_parameters(_build_on_meta(spec, train=True))


def num_parameters(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


class _ForwardWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches a forward: the storages that are alive at once, and the convolutions that run.

    A storage counts from the operator that makes it until nobody refers to it any more; what an
    operator allocates and frees inside itself depends on the device and is not seen.

    Args:
        inputs: tensors that are alive before the forward starts, weights included.
    """

    def __init__(self, inputs: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.activations = self.num_conv = 0
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}  # storage and bytes, by address
        # Weights live throughout: summed once, they are not looked at after every operator.
        self.held: dict[int, tuple[StorageWeakRef, int]] = {}
        for tensor in inputs:
            reference, num_bytes = _refer_weakly(tensor)
            self.held[reference.cdata] = (reference, num_bytes)
        self.held_bytes = self.peak_bytes = sum(num_bytes for _, num_bytes in self.held.values())

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        num_conv = _count_convolutions(func, args)
        self.num_conv += num_conv
        self.activations += num_conv * out.numel() if num_conv else 0  # others may give no tensor
        self._note_storages(tree_leaves(out))
        return out

    def _note_storages(self, values: list[Any]) -> None:
        """Add new storages, drop those that were freed, and update the peak."""
        for value in values:
            if isinstance(value, Tensor):
                reference, num_bytes = _refer_weakly(value)
                if reference.cdata not in self.held:
                    self.alive[reference.cdata] = (reference, num_bytes)

        self.alive = {
            key: (reference, num_bytes)
            for key, (reference, num_bytes) in self.alive.items()
            if not reference.expired()  # type: ignore[no-untyped-call]
        }
        now = self.held_bytes + sum(num_bytes for _, num_bytes in self.alive.values())
        self.peak_bytes = max(self.peak_bytes, now)


def _refer_weakly(tensor: Tensor) -> tuple[StorageWeakRef, int]:
    """Refer to a tensor's storage without keeping it alive; the second is its size in bytes."""
    storage = tensor.untyped_storage()
    return StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]


def _count_convolutions(func: Any, args: tuple[Any, ...]) -> int:
    """Return how many convolutions an operator's call holds; each gives as many values as it."""
    if func.overloadpacket is aten.convolution:
        return 1
    name = func._schema.name  # fused operators are known by name: most networks never load them
    if name == "nas::conv_act":
        return 2 if args[5] is not None else 1  # with the gate's
    return 1 if name == "nas::span_attention" else 0


def _build_on_meta(spec: ArchSpec, *, train: bool = False) -> Network:
    with torch.device("meta"):
        return build(spec, train=train).eval()


def _make_image(size: tuple[int, int]) -> Tensor:
    return torch.empty(1, 3, *size, device="meta")


def _make_flop_counter() -> FlopCounterMode:
    """Return PyTorch's counter (two FLOPs a multiply-accumulate), taught what fvcore counts too."""
    counts: dict[Any, Callable[..., int]] = {
        aten.upsample_nearest2d: _per_output_element(1),
        aten.upsample_bilinear2d: _per_output_element(4),
        aten.native_layer_norm: _per_input_element(5),
        aten.native_group_norm: _per_input_element(5),
        aten.mean: _count_pooling,
    }

    # An operator that is known by its packet alone is decomposed first, into operators that nobody
    # counts: the overload has to be known too.
    counts |= {packet.default: formula for packet, formula in counts.items()}
    counts[aten.mean.dim] = _count_pooling
    return FlopCounterMode(display=False, custom_mapping=counts)


def _per_output_element(num_macs: int) -> Callable[..., int]:
    def count(*args: Any, out_val: Tensor, **kwargs: Any) -> int:
        return 2 * num_macs * out_val.numel()

    # FlopCounterMode then hands over tensors instead of shapes.
    count._get_raw = True  # type: ignore[attr-defined]
    return count


def _per_input_element(num_macs: int) -> Callable[..., int]:
    def count(x: Tensor, *args: Any, **kwargs: Any) -> int:
        return 2 * num_macs * x.numel()

    count._get_raw = True  # type: ignore[attr-defined]
    return count


def _count_pooling(x: Tensor, dim: Any = None, *args: Any, **kwargs: Any) -> int:
    """Count a mean over height and width, a global average pooling; other means are free."""
    # fvcore counts the pooling module, which PyTorch runs as a mean.
    pools = x.dim() == 4 and dim is not None and sorted(d % 4 for d in dim) == [2, 3]
    return 2 * x.numel() if pools else 0


_count_pooling._get_raw = True  # type: ignore[attr-defined]


def _keep_output(outputs: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs[name] = tree_leaves(output)[0]  # some give maps beside their features

    return hook
