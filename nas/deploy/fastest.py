"""On the CPU: the fastest of several equal functions, found by timing them for each shape."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

ROUNDS = 7
MAX_SECONDS = 2.0  # of trying, for a shape; three rounds are timed in any case
GAIN = 0.03  # a function has to be so much faster than the first one to be taken instead

Function = Callable[[Tensor], Tensor]


class Fastest:
    """Calls the fastest of some functions of equal results; each new image shape is tried once.

    Args:
        functions: by name; the first one runs unless another is clearly faster.
        clock: seconds.
    Attributes:
        chosen: the name of the function that runs, by the shape of the image.

    Example:
        >>> fastest = Fastest({"plain": lambda x: 2 * x, "same": lambda x: x + x})
        >>> fastest(torch.ones(1)), list(fastest.chosen)
        (tensor([2.]), [torch.Size([1])])
    """

    def __init__(
        self, functions: Mapping[str, Function], *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.functions = dict(functions)
        self.clock = clock
        self.chosen: dict[torch.Size, str] = {}

    def __call__(self, image: Tensor) -> Tensor:
        if image.shape not in self.chosen:
            self.chosen[image.shape] = self._find_fastest(image)
        return self.functions[self.chosen[image.shape]](image)

    def _find_fastest(self, image: Tensor) -> str:
        """Return the name of the function to take for a shape."""
        # A first call allocates, and compiles where a function is compiled: it is not timed.
        for function in self.functions.values():
            function(image)

        # The functions take turns, so that a disturbance meets all of them.
        seconds: dict[str, list[float]] = {name: [] for name in self.functions}
        begin = self.clock()
        for num_rounds in range(ROUNDS):
            if num_rounds >= 3 and self.clock() - begin > MAX_SECONDS:
                break
            for name, function in self.functions.items():
                start = self.clock()
                function(image)
                seconds[name].append(self.clock() - start)

        # The first function is the plain network: noise alone never replaces it.
        typical = {name: statistics.median(times) for name, times in seconds.items()}
        first, best = next(iter(typical)), min(typical, key=lambda name: typical[name])
        return best if typical[best] < (1 - GAIN) * typical[first] else first
