"""Children go on in their training form, and trained ones may be parents again."""

import pytest
import torch

from nas.train.inherit import Teacher, inherit
from search_spaces.reparam import rep_convs
from tests.nas.train.inherit.families import V2, random_images, random_teacher, teacher, trained
from tests.search_spaces.tiny import tiny_spec


@pytest.mark.parametrize(
    "changes", [{}, {"bias": False, "taps": "ends"}, V2, {"channels": 28, "num_blocks": 2}]
)
def test_unfolded_child_computes_what_the_child_does(changes):
    net = inherit(
        random_teacher(tiny_spec(**changes)), tiny_spec(**changes | {"channels": 12}), seed=0
    )
    made = net.unfold(seed=1)
    assert list(rep_convs(made))
    folded = made.fold().state_dict()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(folded[name], value, rtol=1e-6, atol=1e-6)
    images = random_images(2, 11)
    with torch.no_grad():
        wanted = net(images)
        assert (made(images) - wanted).abs().max() <= 2e-5 * wanted.abs().max()


def test_unfolded_trained_child_keeps_its_output():
    made = trained().unfold(seed=0)
    with torch.no_grad():
        images = teacher().images[:2]
        assert (made(images) - trained()(images)).abs().max() <= 1e-6


def test_every_branch_takes_gradients():
    made = teacher().net.unfold(seed=1)
    made(teacher().images[:2]).square().mean().backward()
    for name, value in made.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name


def test_the_fold_of_a_training_form_may_be_the_parent():
    spec = tiny_spec(channels=8)
    parent = random_teacher(spec)
    again = Teacher(parent.net.unfold(seed=0), parent.images, rows=256)
    wanted = Teacher(parent.net, parent.images, rows=256).features["out"]
    assert (again.features["out"] - wanted).abs().max() <= 2e-5 * wanted.abs().max()
