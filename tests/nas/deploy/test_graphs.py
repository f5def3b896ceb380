"""The cache of graphs, with a graph that calls the function again in place of CUDA's."""

import contextlib

import pytest
import torch

from nas.deploy.graphs import GraphCache


class FakeGraph:
    """Replays by calling what was captured once more, on the held image, into the output of the capture."""

    def replay(self):
        self.out.copy_(self.function(self.held))


@pytest.fixture
def cache(monkeypatch):
    capturing = []

    @contextlib.contextmanager
    def capture(graph, pool):
        capturing.append(graph)
        yield
        capturing.clear()

    class Stream:
        def wait_stream(self, other):
            pass

    for name, value in {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "device": lambda device: contextlib.nullcontext(),
        "graph_pool_handle": lambda: 0,
        "CUDAGraph": FakeGraph,
        "graph": capture,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)

    def double(image):
        out = 2 * image.float()
        for graph in capturing:
            graph.function, graph.held, graph.out = lambda held: 2 * held.float(), image, out
        return out

    return GraphCache(double, capacity=2, share_output=False)


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
