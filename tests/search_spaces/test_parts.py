"""Parts of a network: each has a role, and its name is for people alone."""

import dataclasses

import pytest
import torch

from search_spaces import build, published
from search_spaces.parts import make_part, parts
from search_spaces.published import names


@pytest.mark.parametrize("name", names())
def test_a_part_is_made_by_its_role_whatever_it_is_called(name):
    spec = published(name)
    for part in parts(spec):
        assert part.name.rstrip("0123456789") == part.role
        renamed = dataclasses.replace(part, name="skip" if part.role != "skip" else "block1")
        with torch.device("meta"):
            made, other = make_part(part, spec.scale), make_part(renamed, spec.scale)
        assert type(other) is type(made)
        shapes = {key: value.shape for key, value in made.state_dict().items()}
        assert {key: value.shape for key, value in other.state_dict().items()} == shapes


def test_only_stem_and_blocks_are_held_in_the_training_form_of_the_architecture():
    roles = {part.role: part.is_feature for part in parts(published("span"))}
    assert roles == {"stem": True, "block": True, "fusion": False, "upsampler": False}


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("span", ["stem", "blocks", "fusion", "upsampler"]),
        ("spanf", ["blocks", "fusion", "skip", "upsampler"]),
        ("dscf_fused", ["stem", "blocks", "fusion", "residuals", "upsampler"]),
    ],
)
def test_parts_stay_in_the_order_in_which_weights_and_optimisers_are_stored(name, order):
    assert (
        list(dict.fromkeys(key.partition(".")[0] for key in build(published(name)).state_dict()))
        == order
    )
