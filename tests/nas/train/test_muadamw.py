import pytest
import torch
from torch import nn

from nas.train.muadamw import Muon, hidden_kernels, orthogonalise
from search_spaces import build, published
from search_spaces.layers.attention import ATTENTIONS
from search_spaces.published import names


@pytest.mark.parametrize("shape", [(4, 16, 16), (3, 28, 252), (2, 252, 28), (5, 8, 72), (1, 1, 9)])
def test_orthogonalised_matrices_have_singular_values_around_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = torch.linalg.svdvals(orthogonalise(matrices))
    if (
        shape[1] != shape[2]
    ):  # a random square matrix has singular values that five steps cannot lift
        assert found.min() > 0.6
    assert found.max() < 1.25


def test_orthogonalising_keeps_the_singular_vectors():
    matrix = torch.randn(1, 12, 40, generator=torch.Generator().manual_seed(1))
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    ours = orthogonalise(matrix)
    assert (ours - u @ (u.mT @ ours @ vh.mT) @ vh).norm() < 1e-4 * ours.norm()
    inner = (u.mT @ ours @ vh.mT)[0]
    assert (inner - inner.diagonal().diag()).abs().max() < 1e-4
    assert inner.diagonal().min() > 0.6


def test_orthogonalising_does_not_depend_on_the_size_of_the_gradient():
    matrix = torch.randn(1, 8, 24, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        orthogonalise(1e3 * matrix), orthogonalise(matrix), rtol=1e-4, atol=1e-5
    )
    assert orthogonalise(torch.zeros(1, 8, 24)).isfinite().all()


def test_step_is_the_orthogonalised_nesterov_momentum():
    kernel = nn.Parameter(torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(3)))
    optimizer = Muon([kernel], lr=0.1, momentum=0.5, decay=0.2)
    start, momentum = kernel.detach().clone(), torch.zeros_like(kernel)
    for seed in (4, 5):
        kernel.grad = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(seed))
        momentum = 0.5 * momentum + kernel.grad
        update = orthogonalise((kernel.grad + 0.5 * momentum).flatten(1)[None])[0].view_as(kernel)
        start = (1 - 0.1 * 0.2) * start - 0.1 * update
        optimizer.step()
    torch.testing.assert_close(kernel.detach(), start)


def test_tall_kernels_take_longer_steps_and_those_without_gradient_none():
    tall, still = nn.Parameter(torch.zeros(36, 1, 1, 1)), nn.Parameter(torch.ones(4, 1, 1, 1))
    optimizer = Muon([tall, still], lr=0.1, momentum=0.0, decay=0.0)
    tall.grad = torch.ones_like(tall)
    optimizer.step()
    assert torch.equal(still.detach(), torch.ones(4, 1, 1, 1))
    assert 0.6 < tall.detach().norm().item() / (0.1 * 6) < 1.25  # sqrt(36 rows / 1 column)


@pytest.mark.parametrize("name", names())
def test_hidden_kernels_are_neither_first_nor_last_nor_grouped(name):
    net = build(published(name))
    taken = {id(kernel) for kernel in hidden_kernels(net)}
    found = [key for key, value in net.named_parameters() if id(value) in taken]
    assert found
    assert all(key.endswith("weight") for key in found)
    assert not {"upsampler.conv.weight", "stem.weight", "skip.weight"} & set(found)
    modules = dict(net.named_modules())
    for key in found:
        conv = modules[key.removesuffix(".weight")]
        assert isinstance(conv, nn.Conv2d)
        assert conv.groups == 1
        assert conv.in_channels != 3
    gates = [part for part in net.modules() if isinstance(part, tuple(ATTENTIONS.values()))]
    assert taken.isdisjoint(
        id(p) for gate in gates for p in gate.parameters()
    )  # they diverge under Muon
    assert any(key.startswith("blocks.2.") for key in found)
