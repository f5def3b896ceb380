"""The cache of graphs on devices and streams that are imitated: a graph calls its function again."""

import contextlib
import itertools
import warnings

import pytest
import torch

from nas.deploy.graphs import GraphCache
from nas.ops import backend
from nas.ops.backend import BackendWarning


class Stream:
    """A stream of the current device; `knows` what it waits for, by numbers of operations."""

    def __init__(self):
        self.device = CUDA.device
        self.knows = set()

    def wait_stream(self, other):
        self.knows |= other.knows


class Graph:
    """Replays by calling what was captured once more, on the held image, into the output of the capture."""

    def replay(self):
        CUDA.use(self.pool)
        CUDA.replays.append((self.stream, CUDA.current_stream()))
        self.out.copy_(self.function(self.held))


class Cuda:
    """Two devices, each with a stream of its own; every use of a pool has to know all uses before it."""

    def reset(self):
        self.device, self.recording, self.fault = 0, None, None
        self.current, self.uses, self.replays = {}, {}, []
        self.numbers = itertools.count()
        for self.device in (1, 0):
            self.current[self.device] = Stream()

    def current_stream(self):
        return self.current[self.device]

    def use(self, pool):
        number, stream = next(self.numbers), self.current_stream()
        uses = self.uses.setdefault(pool, set())
        assert uses <= stream.knows, "a use of the pool is not ordered after those before it"
        assert pool[0] == stream.device, "a pool is of one device"
        uses.add(number)
        stream.knows.add(number)

    @contextlib.contextmanager
    def on(self, device):
        before, self.device = self.device, getattr(device, "index", device) or 0
        yield
        self.device = before

    @contextlib.contextmanager
    def stream(self, stream):
        before = dict(self.current)
        self.current[stream.device] = stream
        try:
            yield
        finally:
            self.current = before

    @contextlib.contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        assert stream.device == self.device
        self.use(pool)
        self.recording, graph.pool, graph.stream = graph, pool, stream
        self.current[stream.device] = stream  # where an error leaves it
        try:
            yield
        finally:
            self.recording = None
            if type(self.fault) is RuntimeError:
                raise RuntimeError("operation failed due to a previous error during capture")

    def pool_handle(self):
        return self.device, object()


CUDA = Cuda()


def double(image):
    if CUDA.recording is None:
        return 2 * image.float()
    if CUDA.fault:
        raise CUDA.fault
    out = 2 * image.float()
    CUDA.recording.function, CUDA.recording.held, CUDA.recording.out = double, image, out
    return out


@pytest.fixture
def cache(monkeypatch):
    CUDA.reset()
    monkeypatch.setattr(backend, "_SAID", set())
    for name, value in {
        "Stream": Stream,
        "current_stream": CUDA.current_stream,
        "stream": CUDA.stream,
        "device": CUDA.on,
        "graph_pool_handle": CUDA.pool_handle,
        "CUDAGraph": Graph,
        "graph": CUDA.graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return GraphCache(double, capacity=2, share_output=False)


class OnDevice(torch.Tensor):
    """A tensor that says it lies on the second device."""

    device = torch.device("cuda", 1)


def test_a_graph_belongs_to_a_shape_and_a_dtype(cache):
    image = torch.full((1, 3, 4, 4), 0.6)
    assert cache(image.to(torch.uint8)).max() == 0
    assert (cache(image) == 1.2).all(), "what is held for uint8 holds no fraction"
    assert len(cache._graphs) == 2


def test_the_graphs_used_last_are_kept(cache):
    small, middle, large = (torch.rand(1, 3, side, side) for side in (2, 3, 4))
    for image in (small, middle, small, large):
        torch.testing.assert_close(cache(image), 2 * image)
    assert [shape[-1] for shape, _ in cache._graphs] == [2, 4]


def test_an_output_stays_when_the_next_image_comes(cache):
    first, second = torch.rand(2, 1, 3, 4, 4)
    kept = cache(first)
    cache(second)
    torch.testing.assert_close(kept, 2 * first)


def test_calls_on_two_streams_follow_each_other(cache):
    streams = Stream(), Stream()
    images = [torch.rand(1, 3, side, side) for side in (2, 3)]
    for stream, image in itertools.product(streams * 2, images):
        with CUDA.stream(stream):
            torch.testing.assert_close(cache(image), 2 * image)
    replayed = [current for _, current in CUDA.replays]
    assert replayed == [stream for stream in streams * 2 for _ in images], (
        "each on the caller's stream"
    )


def test_each_device_captures_on_a_stream_of_its_own(cache):
    other = GraphCache(double, capacity=2, share_output=False)
    image = torch.rand(1, 3, 4, 4)
    cache(image)
    torch.testing.assert_close(
        other(image.as_subclass(OnDevice)).as_subclass(torch.Tensor), 2 * image
    )
    cache(torch.rand(1, 3, 5, 4))
    captured = [captured.device for captured, _ in CUDA.replays]
    assert captured == [current.device for _, current in CUDA.replays] == [0, 1, 0]
    assert CUDA.device == 0


def test_a_capture_that_fails_falls_back_and_is_said_once(cache):
    image, stream = torch.rand(1, 3, 4, 4), CUDA.current_stream()
    cache(image)
    CUDA.fault = RuntimeError("operation not permitted when stream is capturing\nCompile with ...")
    message = (
        r"^CUDA graphs are not used: a capture failed \(RuntimeError: operation not permitted when "
    )
    with pytest.warns(
        BackendWarning, match=message + r"stream is capturing\); kernels are launched one by one"
    ):
        torch.testing.assert_close(cache(image[..., 1:]), 2 * image[..., 1:])
    assert CUDA.current_stream() is stream
    assert "not permitted" in cache.why_not
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for again in (image, image[..., 1:], image[..., 2:]):
            torch.testing.assert_close(cache(again), 2 * again)
    assert len(CUDA.replays) == 1


@pytest.mark.parametrize(
    "fault", [torch.OutOfMemoryError("CUDA out of memory"), TypeError("a bug")]
)
def test_other_errors_of_a_capture_are_raised(cache, fault):
    CUDA.fault = fault
    with pytest.raises(type(fault), match=str(fault)):
        cache(torch.rand(1, 3, 4, 4))
    assert cache.why_not is None


def test_what_fails_by_itself_is_raised_as_it_is(cache):
    def broken(image):
        raise RuntimeError("shapes do not fit")

    cache.function = broken
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        cache(torch.rand(1, 3, 4, 4))
    assert cache.why_not is None
