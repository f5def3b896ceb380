import torch

from nas.train.inherit.plan import match_blocks
from nas.train.inherit.views import Use, View, choose, project


def rows(num, width, seed=0):
    return torch.randn(num, width, generator=torch.Generator().manual_seed(seed))


def test_choose_leaves_out_what_others_tell_and_what_nobody_reads():
    free = rows(500, 4)
    features = torch.cat([free, free[:, :1] + free[:, 1:2], free[:, :2] @ torch.ones(2, 1) * 3], 1)
    kernel = rows(7, 6, seed=1)[:, :, None, None].clone()
    kernel[:, 3] = 0.0
    kept = choose([Use(rows=features, kernels=(kernel,))], 3).argmax(1).tolist()
    assert 3 not in kept
    assert 2 in kept
    assert choose([Use(rows=features, kernels=(kernel,))], 9).equal(torch.eye(6))


def test_project_is_the_best_map_of_its_rank():
    """Eckart-Young on whitened features: the error is that of the singular values left out."""
    features = rows(4000, 6) @ rows(6, 6, seed=1)
    kernel = rows(5, 6, seed=2)[:, :, None, None]
    down = project(features, kernel, 2)
    centred = features - features.mean(0)
    wanted = centred @ kernel.flatten(1).T
    seen = centred @ down.T
    left = wanted - seen @ torch.linalg.lstsq(seen, wanted).solution
    values = torch.linalg.svdvals(wanted)
    torch.testing.assert_close(left.square().sum(), values[2:].square().sum(), rtol=1e-3, atol=0)


def test_view_reads_the_parent_from_the_child():
    theirs = rows(300, 5)
    down = torch.eye(5)[[3, 1, 0, 2, 4]]
    view = View.between(down, theirs, torch.cat([theirs @ down.T, rows(300, 2, seed=3)], 1))
    assert torch.equal(view.up, torch.cat([down.T, torch.zeros(5, 2)], 1))
    halved = View.between(down, theirs, 0.5 * theirs @ down.T + 1)
    torch.testing.assert_close(halved.up, 2 * down.T, rtol=0, atol=1e-4)


def test_match_keeps_the_ends():
    assert match_blocks(4, 6, at_end=False) == [1, 2, 5, 6]
    assert match_blocks(3, 5, at_end=True) == [1, 2, 5]
    assert match_blocks(1, 4, at_end=False) == [1]
    assert match_blocks(5, 3, at_end=False) == [1, 2, None, None, 3]
    assert match_blocks(5, 3, at_end=True) == [1, 2, 3, None, None]
    assert match_blocks(3, 3, at_end=False) == [1, 2, 3]
