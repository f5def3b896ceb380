"""Distillation: affinities, features and images of a teacher."""

import pytest
import torch

from nas.losses.edges import Laplacian
from nas.losses.pixel import L1
from nas.train.distill.affinity import affinity_distance, squared_affinity_distance
from nas.train.distill.imitation import Imitation
from nas.train.distill.terms import Affinity, Features, Output, Pass
from search_spaces.network import build
from tests.search_spaces.tiny import tiny_spec


def draw(*shape):
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64
    )


def compare_slowly(a, b, rho):
    """The affinity loss by its definition: a loop over all pairs of positions."""
    total, count = 0.0, 0
    for x, y in zip(a.flatten(2), b.flatten(2), strict=True):
        for p in range(x.shape[1]):
            for q in range(x.shape[1]):
                cosines = [(z[:, p] @ z[:, q]) / (z[:, p].norm() * z[:, q].norm()) for z in (x, y)]
                total += (cosines[0] - cosines[1]).abs() ** (2 if rho == "square" else 1)
                count += 1
    return total / count


def test_affinity_is_a_double_loop_over_positions():
    a, b = draw(2, 5, 4, 3), draw(2, 7, 4, 3)
    torch.testing.assert_close(affinity_distance(a, b, most=32), compare_slowly(a, b, "absolute"))
    torch.testing.assert_close(squared_affinity_distance(a, b), compare_slowly(a, b, "square"))


def test_affinity_averages_large_features_first():
    a, b = draw(1, 3, 8, 8), draw(1, 4, 8, 8)
    small = [torch.nn.functional.avg_pool2d(x, 2) for x in (a, b)]
    torch.testing.assert_close(affinity_distance(a, b, most=4), affinity_distance(*small, most=4))


@pytest.mark.parametrize("rho", ["absolute", "square"])
def test_affinity_has_the_gradient_of_finite_differences(rho):
    a, b = draw(1, 3, 3, 3).requires_grad_(), draw(1, 2, 3, 3)
    term = Affinity(weight=1.0, layers=[("block1", "block1")], rho=rho)

    def compare(x):
        image = torch.zeros(1)
        theirs = Pass(image=image, features={"block1": b})
        return term(Pass(image=image, features={"block1": x}), theirs, {})

    assert torch.autograd.gradcheck(compare, (a,))


def test_features_go_through_an_adapter_to_the_teachers_width():
    net, teacher = build(tiny_spec(channels=4)), build(tiny_spec(channels=6)).eval()
    terms = {"features": Features(weight=0.1, layers=[("block1", "block1")])}
    imitation = Imitation(teacher, terms)
    x = torch.rand(2, 3, 8, 8)
    imitation.fit_adapters(net, x, seed=0)
    assert [tuple(p.shape) for p in imitation.parameters()] == [(6, 4, 1, 1), (6,)]

    image, features = net.forward_with_features(x, imitation.student_layers)
    theirs = teacher.forward_with_features(x, ["block1"])[1]["block1"]
    wanted = (imitation.adapters["block1 to block1"](features["block1"]) - theirs).square().mean()
    found = imitation.compare(Pass(image=image, features=features), imitation.ask_teacher(x))
    torch.testing.assert_close(found["features"], wanted)
    assert imitation.weights_at(0.3) == {"features": 0.1}


def test_each_pair_of_layers_has_an_adapter_of_its_own():
    """One layer may be compared with several, of different widths."""
    net, teacher = build(tiny_spec(channels=4)), build(tiny_spec(channels=6)).eval()
    layers = [("block1", "stem"), ("block1", "block1")]
    imitation = Imitation(teacher, {"features": Features(weight=0.1, layers=layers)})
    imitation.fit_adapters(net, torch.rand(2, 3, 8, 8), seed=0)
    assert sorted(imitation.adapters) == ["block1 to block1", "block1 to stem"]


def test_teacher_learns_nothing_and_is_no_part_of_the_state():
    net, teacher = build(tiny_spec()), build(tiny_spec(channels=6)).eval()
    imitation = Imitation(teacher, {"output": Output(loss=L1(weight=1.0))})
    x = torch.rand(1, 3, 8, 8)
    imitation.compare(Pass(image=net(x), features={}), imitation.ask_teacher(x))[
        "output"
    ].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not imitation.state_dict()
    assert not imitation.has_parameters


def test_edges_are_those_of_the_teachers_image():
    net, teacher = build(tiny_spec()), build(tiny_spec(channels=6)).eval()
    x = torch.rand(1, 3, 8, 8)
    imitation = Imitation(teacher, {"edge": Output(loss=Laplacian(weight=0.1))})
    image = net(x)
    found = imitation.compare(Pass(image=image, features={}), imitation.ask_teacher(x))["edge"]
    torch.testing.assert_close(found, Laplacian(weight=1.0)(image, teacher(x)))


def test_layers_that_do_not_fit_are_named():
    net, teacher = build(tiny_spec()), build(tiny_spec()).eval()
    x = torch.rand(1, 3, 8, 8)
    unknown = Imitation(teacher, {"f": Features(weight=1.0, layers=[("block9", "block1")])})
    with pytest.raises(ValueError, match="the network has no feature block9"):
        unknown.fit_adapters(net, x, seed=0)

    foreign = torch.nn.Upsample(scale_factor=4)
    without = Imitation(foreign, {"f": Features(weight=1.0, layers=[("block1", "block1")])})
    with pytest.raises(ValueError, match="the teacher is a Upsample, which has no layers"):
        without.fit_adapters(net, x, seed=0)
