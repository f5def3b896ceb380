import re

import pytest
import torch

from search_spaces import ArchSpec, build
from search_spaces.initialise import initial_network
from search_spaces.layers.pad import pad_to_multiple
from search_spaces.network import Network
from tests.search_spaces.blocks.members import group, hab, made, member, shab, spab


@pytest.mark.parametrize("other", [8, 17, 40])
def test_blocks_take_every_size(other):
    """Grids of one pixel's distance have no shift."""
    own, shared = made(hab(), 16), made(shab(), 16)
    sizes = [(1, 1), (3, 5), *((n, other) for n in range(8, 41))]
    for height, width in sizes:
        for size in ((height, width), (width, height)):
            context = {}
            x = torch.randn(1, 16, *size)
            with torch.no_grad():
                out = shared(own(x, context), context)
            assert out.shape == x.shape
            assert out.isfinite().all()


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_other_sizes_are_mirrored_up_to_multiples_of_8(size):
    block, x = made(hab(), 16), torch.randn(2, 16, *size)
    with torch.no_grad():
        wanted = block(pad_to_multiple(x, 8, "symmetric"), {})[:, :, : size[0], : size[1]]
        assert torch.equal(block(x, {}), wanted)


@pytest.mark.parametrize("size", [(16, 24), (17, 23), (8, 8)])
def test_sampled_maps_have_the_shapes_of_true_ones(size):
    own, shared = made(hab(), 16), made(shab(), 16)
    x = torch.randn(2, 16, *size)
    context = {}
    own(x, context)
    with torch.device("meta"):
        sample = made(shab(), 16).sample_context(x.to("meta"))["maps"]
    assert [m.shape for m in sample] == [m.shape for m in context["maps"]]
    assert all(m.is_meta for m in sample)
    assert shared.sample_context(x.double())["maps"][0].dtype == torch.float64


def test_maps_are_attention_weights():
    context = {}
    made(hab(), 16)(torch.randn(1, 16, 24, 24), context)
    assert [tuple(m.shape) for m in context["maps"]] == [
        (9, 64, n) for n in (96, 113, 96, 120, 100, 120)
    ]
    for m in context["maps"]:
        torch.testing.assert_close(m.sum(2), torch.ones(9, 64))
        assert (m > 0).all()  # of keys outside the image too


def test_shab_uses_the_maps_of_the_nearest_hab_before_it():
    net = build(member(hab(), hab(), spab(), group(shab()), shab()))
    given, seen = [], []
    for name in "12":
        net.blocks[name].body.register_forward_hook(lambda _m, _i, out: given.append(out[1]))
    for block in (net.blocks["4"].blocks[0], net.blocks["5"]):
        block.body.register_forward_pre_hook(lambda _m, args: seen.append(args[1]))
    with torch.no_grad():
        net(torch.rand(1, 3, 16, 16))
    assert len(seen) == 2
    for maps in seen:
        assert all(ours is theirs for ours, theirs in zip(maps, given[1], strict=True))


MEMBERS = {
    "plain": member(hab(), spab(), shab()),
    "widths": member(hab(), spab(32), shab(32), channels=16, residuals=[]),
    "groups": member(group(hab(), spab(), kernel=3), group(shab(), attention="esa"), shab()),
    "nested": member(group(group(hab(), attention="esa"), shab(), kernel=3)),
}


@pytest.mark.parametrize("spec", MEMBERS.values(), ids=MEMBERS)
def test_members_learn_at_odd_sizes(spec):
    torch.manual_seed(0)
    net = build(spec, train=True)
    out = net(torch.rand(2, 3, 17, 23))
    assert out.shape == (2, 3, 34, 46)
    assert out.isfinite().all()
    out.square().mean().backward()
    for name, value in net.named_parameters():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name
        assert value.grad.any(), name


@pytest.mark.parametrize("spec", MEMBERS.values(), ids=MEMBERS)
def test_training_form_of_members_is_their_folded_form(spec):
    torch.manual_seed(0)
    net = build(spec, train=True).double()
    folded = net.fold()
    assert list(folded.state_dict()) == list(build(spec).state_dict())
    assert sum(v.numel() for v in net.parameters()) > sum(v.numel() for v in folded.parameters())
    x = torch.rand(1, 3, 17, 23, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), net(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("spec", MEMBERS.values(), ids=MEMBERS)
def test_members_survive_json(spec):
    again = ArchSpec.from_json(spec.to_json())
    assert again == spec
    assert again.arch_id == spec.arch_id
    assert len({one.arch_id for one in MEMBERS.values()}) == len(MEMBERS)


def test_members_start_finite():
    net = initial_network(MEMBERS["groups"], 0, torch.rand(4, 3, 24, 24), zero_output=False)
    assert isinstance(net, Network)
    assert net(torch.rand(2, 3, 24, 24)).isfinite().all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (member(shab()), "blocks: block1 reads maps, which no block before it gives; put one"),
        (member(group(shab(), hab())), "blocks: block1 reads maps, which no block before it gives"),
        (member(spab(), shab(), hab()), "blocks: block2 reads maps, which no block before it gives; put one "
         "that does before it (hab)"),
        (member(hab(24), channels=24), "block1: hab.channels must be a multiple of 16 (three quarters are "
         "shuffled in four groups), got 24; use 16 or 32"),
        (member(hab(), shab(32)), "block2: shab.channels must be those of its input, which it adds, "
         "16, got 32; use 16"),
        (member(hab(), tail=[shab()]), "tail1 is a SHAB, which takes or hands on more than features; put it"),
        (member(spab(), fusion=hab()), "fusion is a HAB, which takes or hands on more than features; put it"),
        (member({**hab(), "window": 4}), "missing [], unknown ['window']"),
        (member({"kind": "hab", "channels": 16}), "takes the arguments ['channels', 'kernel']: missing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(spec, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(spec)


def test_kernels_of_even_length_are_refused():
    with pytest.raises(
        ValueError, match=r"hab\.kernel must be odd to keep height and width, got 30"
    ):
        member(hab(kernel=30))
