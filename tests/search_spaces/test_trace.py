"""torch.jit.trace as converters call it: gradients on, and its own check, which runs without them."""

import pytest
import torch

from search_spaces import build, published
from search_spaces.published import names

FOR_ONE_SIZE = ("dwmamba", "mambagate")  # the steps of a selective scan are recorded one by one


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", names())
def test_a_trace_with_gradients_on_is_one_graph_of_the_same_function(name):
    torch.manual_seed(0)
    net, image = build(published(name)), torch.rand(1, 3, 24, 20)
    traced = torch.jit.trace(net, image)
    other = torch.rand(1, 3, 24, 20) if name in FOR_ONE_SIZE else torch.rand(1, 3, 33, 17)
    assert torch.equal(traced(other), net(other))
    with torch.no_grad():
        assert torch.equal(traced(other), net(other))
