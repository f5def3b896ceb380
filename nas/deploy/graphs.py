"""CUDA graphs of one function, one for each shape and dtype of its input."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Key = tuple[torch.Size, torch.dtype]

WARM_UPS = 3  # runs before a capture: kernels are built, libraries choose


class GraphCache:
    """Replays a function of one image as a CUDA graph; those that were used last are kept.

    Graphs share one pool of memory, in which feature maps take each other's place as soon as they are read:
    a plan of equal layers goes back and forth between as few buffers as are alive at once.

    Args:
        function: from a tensor on CUDA to a tensor on the same device, the same kernels in every call.
        capacity: graphs that are kept.
        share_output: give the graph's own output instead of a copy. It is valid until the next call of any
            shape: the graphs' shared memory holds it.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], *, capacity: int, share_output: bool) -> None:
        self.function = function
        self.capacity = capacity
        self.share_output = share_output
        self._graphs: OrderedDict[Key, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = OrderedDict()
        self._pool: Any = None  # a handle of PyTorch's

    def __call__(self, image: Tensor) -> Tensor:
        with torch.cuda.device(image.device):
            key = (image.shape, image.dtype)
            if key not in self._graphs:
                self._graphs[key] = self._capture(image)
                while len(self._graphs) > self.capacity:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(key)
            graph, held, out = self._graphs[key]
            held.copy_(image)
            graph.replay()
            return out if self.share_output else out.clone()

    def _capture(self, image: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        held = image.clone(memory_format=torch.contiguous_format)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.function(held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool):
            out = self.function(held)
        return graph, held, out
