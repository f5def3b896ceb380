"""CUDA graphs of one function, one for each shape and dtype of its input."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nas.ops.backend import say_once

Key = tuple[torch.Size, torch.dtype]
Captured = tuple[torch.cuda.CUDAGraph, Tensor, Tensor]  # the graph, its input and its output

WARM_UPS = 3  # runs before a capture: kernels are built, libraries choose
# What other threads do during a capture, such as to allocate, does not end it.
CAPTURE_ERROR_MODE = "thread_local"


class GraphCache:
    """Replays a function of one image as a CUDA graph; those that were used last are kept.

    Graphs share one pool of memory, in which feature maps take each other's place as soon as they
    are read: a plan of equal layers goes back and forth between as few buffers as are alive at
    once. A call on another stream therefore waits for the one before it.

    A function that no graph can hold, since it waits for the device or allocates by itself, is
    called as it is from then on; a warning says so once.

    Args:
        function: from a tensor on CUDA to a tensor on the same device, the same kernels in every
            call.
        capacity: graphs that are kept.
        share_output: give the graph's own output instead of a copy. It is valid until the next call
            of any shape: the graphs' shared memory holds it.
    Attributes:
        why_not: why there are no graphs; None: there are.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], *, capacity: int, share_output: bool
    ) -> None:
        self.function = function
        self.capacity = capacity
        self.share_output = share_output
        self.why_not: str | None = None
        self._graphs: OrderedDict[Key, Captured] = OrderedDict()  # the last used at the end
        self._last: torch.cuda.Stream | None = None  # of the call before
        self._stream: Any = None  # on which graphs of this device are captured
        self._pool: Any = None  # a handle of PyTorch's

    def __call__(self, image: Tensor) -> Tensor:
        with torch.cuda.device(image.device):
            self._follow_last_call()
            captured = self._find_graph(image)
            if captured is None:
                return self.function(image)

            # A graph reads and writes the addresses of its capture.
            graph, graph_input, graph_output = captured
            graph_input.copy_(image)
            graph.replay()
            return graph_output if self.share_output else graph_output.clone()

    def _follow_last_call(self) -> None:
        """Order this call after the last one, and after what has read its output so far."""
        # The graphs' memory is shared, so calls of two streams would overwrite each other.
        stream = torch.cuda.current_stream()
        if self._last is not None and stream != self._last:
            stream.wait_stream(self._last)
        self._last = stream

    def _find_graph(self, image: Tensor) -> Captured | None:
        """Return the graph of an image's shape and dtype; None: there are no graphs."""
        key = (image.shape, image.dtype)
        if key not in self._graphs and self.why_not is None:
            try:
                self._graphs[key] = self._capture_graph(image)
            except _CaptureError as error:
                self.why_not = str(error)
                self._graphs.clear()  # the device has come to rest before the capture
                say_once(f"CUDA graphs are not used: {error}; kernels are launched one by one")
            while len(self._graphs) > self.capacity:
                self._graphs.popitem(last=False)

        if self.why_not is not None:
            return None
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _capture_graph(self, image: Tensor) -> Captured:
        """Record the function once.

        Raises:
            _CaptureError: it runs, but not while it is recorded.
        """
        # PyTorch's own stream would be one for all devices, that of the first of them.
        if self._stream is None:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()

        current = torch.cuda.current_stream()
        graph_input = image.clone(memory_format=torch.contiguous_format)
        self._stream.wait_stream(current)
        try:
            # A capture that fails leaves its own stream as the current one: this `with` mends that.
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UPS):
                    self.function(graph_input)
                return self._record_graph(graph_input)
        finally:
            current.wait_stream(self._stream)

    def _record_graph(self, graph_input: Tensor) -> Captured:
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(
            graph,
            pool=self._pool,
            stream=self._stream,
            capture_error_mode=CAPTURE_ERROR_MODE,
        )

        try:
            with recording:
                graph_output = self.function(graph_input)
        # Plain calls would lack memory as well: this is no reason to go on without graphs.
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # The end of a failed capture raises an error of its own; its context is the cause.
            cause = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            message = str(cause).strip().splitlines() or ["no message"]
            name = type(cause).__name__
            raise _CaptureError(f"a capture failed ({name}: {message[0]})") from error

        return graph, graph_input, graph_output


class _CaptureError(Exception):
    """A function that runs by itself does not run while it is recorded."""
