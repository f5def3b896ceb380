"""Launches that are prepared once and then repeated on other maps.

A call of an operator costs the host several times what a launch does: it goes through the
dispatcher, checks, and the search for a kernel. A module whose operands are laid out as those of an
earlier call repeats that call's launch, and skips all of that.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from torch import Tensor

from nas.ops.backend import GENERATION

MAX_KEPT = 64  # launches of a module: one for each shape of a map and place of its weights

# Returns the result for a first and a second map.
# None: nothing was launched, as their device is not the current one.
Repeat = Callable[[Tensor, Tensor | None], Tensor | None]


class Arguments(NamedTuple):
    """The arguments of a kernel beside its maps, which change from launch to launch.

    The kernel takes the first map, `before`, the second map or None, `between`, the result and
    `after`. Tensors among them are pointers; `held` keeps their memory alive.
    """

    before: tuple[Any, ...]
    between: tuple[Any, ...]
    after: tuple[Any, ...]
    held: tuple[Tensor | None, ...]


class Prepared(dict[Hashable, Repeat | None]):
    """The launches of a module by its operands' layout: see `describe_layout`. A copy is empty."""

    def repeat(self, key: Hashable, first: Tensor, second: Tensor | None) -> Tensor | None:
        """Launch what is kept for a key and return the result.

        None: nothing is kept or launched, and the operator has to be called.
        """
        launch = self.get(key)
        return launch(first, second) if launch is not None else None

    def keep(self, key: Hashable, prepare: Callable[[], Repeat | None]) -> None:
        """Prepare a launch for a key, once; what cannot be prepared is not tried again.

        Args:
            key: None for operands whose launches cannot be repeated.
        """
        if key is not None and key not in self:
            if len(self) >= MAX_KEPT:
                self.clear()
            self[key] = prepare()

    def __reduce__(self) -> tuple[type["Prepared"], tuple[()]]:
        return Prepared, ()


def describe_layout(
    first: Tensor, second: Tensor | None, weight: Tensor | None, bias: Tensor | None
) -> tuple[Any, ...]:
    """Return all that a launch depends on, save the maps' addresses and the tensors' values.

    A weight is told by its address: no other can have it while a launch holds that weight.
    """
    # A launch is compiled for maps that begin at multiples of 16 bytes, or for others.
    place = first.data_ptr() & 15, first.get_device()
    maps: tuple[Any, ...] = first.shape, first.stride(), first.dtype, place, GENERATION[0]
    if second is not None:
        place = second.data_ptr() & 15, second.get_device()
        maps = (*maps, second.shape, second.stride(), second.dtype, place)

    if weight is None:
        return maps
    return (*maps, weight.data_ptr(), weight.stride(), None if bias is None else bias.data_ptr())


def pointer(value: Tensor | None) -> int | None:
    """Return the address at which a tensor begins; None for None."""
    return None if value is None else value.data_ptr()


def is_aligned(*values: Tensor | None) -> bool:
    """Return whether tensors begin at multiples of 16 bytes, for which kernels are compiled."""
    return not any(value.data_ptr() & 15 for value in values if value is not None)


def make_repeat(kernel: Any, grid: tuple[int, ...], arguments: Arguments, out: Tensor) -> Repeat:
    """Return the launch of a compiled kernel, equal to the one that Triton makes after its search.

    Args:
        kernel: as Triton has compiled it.
        out: a tensor like those that are written.
    """
    from triton import knobs  # an extra: loaded where it runs
    from triton.runtime import driver

    # What a launch needs is read once: each look-up of an attribute costs as much as an argument.
    watched_run = kernel[grid]  # loads the kernel
    run, function, packed = kernel.run, kernel.function, kernel.packed_metadata
    x, y, z = (*grid, 1, 1)[:3]
    before, between, after, _ = arguments
    shape, strides, device = out.shape, out.stride(), max(out.get_device(), 0)
    stream_of, current_device = driver.active.get_current_stream, driver.active.get_current_device

    # Lists that a profiler may fill later: they are looked at in every launch.
    chains = (knobs.runtime.launch_enter_hook, knobs.runtime.launch_exit_hook)
    entered, left = (chain.calls if chain is not None else () for chain in chains)

    def launch(first: Tensor, second: Tensor | None) -> Tensor | None:
        if current_device() != device:
            return None
        out = first.new_empty_strided(shape, strides)
        place = None if second is None else second.data_ptr()
        if entered or left:  # a profiler is told of the launch
            watched_run(first.data_ptr(), *before, place, *between, out.data_ptr(), *after)
            return out
        run(
            x, y, z, stream_of(device), function, packed, None, None, None,
            first.data_ptr(), *before, place, *between, out.data_ptr(), *after,
        )  # fmt: skip
        return out

    launch.held = (kernel, *arguments.held)  # type: ignore[attr-defined]
    return launch
