"""Launches that are prepared once and then repeated on other maps.

A call of an operator costs the host several times what a launch does: the dispatcher, checks, the search for
a kernel. A module whose operands lie as some did before repeats its launch, and goes past all of that.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from torch import Tensor

from nas.ops.backend import GENERATION

MAX_KEPT = 64  # launches of a module: shapes, and places where its weights have lain

# The result for a first and a second map; None: nothing is launched, their device is not the current one.
Repeat = Callable[[Tensor, Tensor | None], Tensor | None]


class Arguments(NamedTuple):
    """Those of a kernel: a map, `before`, a second map or None, `between`, the result, `after`.

    What lies in memory beside the maps is passed as a pointer; `held` keeps it there.
    """

    before: tuple[Any, ...]
    between: tuple[Any, ...]
    after: tuple[Any, ...]
    held: tuple[Tensor | None, ...]


class Prepared(dict[Hashable, Repeat | None]):
    """The launches of a module, by how its operands lie: see `lies`. A copy of it starts with none."""

    def repeat(self, key: Hashable, first: Tensor, second: Tensor | None) -> Tensor | None:
        """Launch what is kept for a key and return the result; None: the operator has to be called."""
        launch = self.get(key)
        return launch(first, second) if launch is not None else None

    def keep(self, key: Hashable, prepare: Callable[[], Repeat | None]) -> None:
        """Prepare a launch for a key, once; what cannot be prepared is not tried again.

        None is the key of operands whose launches cannot be repeated.
        """
        if key is not None and key not in self:
            if len(self) >= MAX_KEPT:
                self.clear()
            self[key] = prepare()

    def __reduce__(self) -> tuple[type["Prepared"], tuple[()]]:
        return Prepared, ()


def lies(
    first: Tensor, second: Tensor | None, weight: Tensor | None, bias: Tensor | None
) -> tuple[Any, ...]:
    """All that a launch depends on but the places of the maps, and what is in any of the tensors.

    Where weights lie tells them apart, as long as a launch holds those that it was prepared for.
    """
    place = first.data_ptr() & 15, first.get_device()
    maps: tuple[Any, ...] = first.shape, first.stride(), first.dtype, place, GENERATION[0]
    if second is not None:
        place = second.data_ptr() & 15, second.get_device()
        maps = (*maps, second.shape, second.stride(), second.dtype, place)
    if weight is None:
        return maps
    return (*maps, weight.data_ptr(), weight.stride(), None if bias is None else bias.data_ptr())


def pointer(value: Tensor | None) -> int | None:
    """Where a tensor begins."""
    return None if value is None else value.data_ptr()


def is_aligned(*values: Tensor | None) -> bool:
    """Whether tensors begin at multiples of 16 bytes, as kernels are compiled for."""
    return not any(value.data_ptr() & 15 for value in values if value is not None)


def repeat(kernel: Any, grid: tuple[int, ...], arguments: Arguments, out: Tensor) -> Repeat:
    """The launch of a kernel that Triton has compiled, as Triton makes it when it finds the kernel again.

    Args:
        out: a tensor like those that are written.
    """
    from triton import knobs  # an extra: loaded where it runs
    from triton.runtime import driver

    found = kernel[grid]  # loads it
    run, function, packed, (x, y, z) = (
        kernel.run,
        kernel.function,
        kernel.packed_metadata,
        (*grid, 1, 1)[:3],
    )
    before, between, after, _ = arguments
    shape, strides, device = out.shape, out.stride(), max(out.get_device(), 0)
    stream_of, current_device = driver.active.get_current_stream, driver.active.get_current_device
    chains = (knobs.runtime.launch_enter_hook, knobs.runtime.launch_exit_hook)
    entered, left = (chain.calls if chain is not None else () for chain in chains)

    def launch(first: Tensor, second: Tensor | None) -> Tensor | None:
        if current_device() != device:
            return None
        out = first.new_empty_strided(shape, strides)
        place = None if second is None else second.data_ptr()
        if entered or left:  # somebody profiles
            found(first.data_ptr(), *before, place, *between, out.data_ptr(), *after)
            return out
        run(
            x, y, z, stream_of(device), function, packed, None, None, None,
            first.data_ptr(), *before, place, *between, out.data_ptr(), *after,
        )  # fmt: skip
        return out

    launch.held = (kernel, *arguments.held)  # type: ignore[attr-defined]
    return launch
