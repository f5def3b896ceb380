"""What a training begins with: all of a file's weights, or what fits."""

import pytest
import torch
from safetensors.torch import save_file

from nas.measure.quality import mean_db, per_image
from nas.train.parent import ParentFile
from nas.train.proxy import OverBase, start_proxy
from nas.train.run.beginning import begin_fresh, begin_from, describe_differences
from nas.train.weights import save_weights, weights_path
from search_spaces import build, published
from tests.nas.train.proxies import image_set, patch_store, proxy
from tests.search_spaces.tiny import tiny_spec

SPEC = tiny_spec(channels=12, taps="all", num_blocks=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def patches():
    return patch_store("coffee")


@pytest.fixture(scope="module")
def proxy_file(patches, tmp_path_factory):
    """Weights of a proxy: a residual over the base."""
    trainer = start_proxy(SPEC, proxy(steps=60, batch_size=4), patches, seed=0, device=CPU)
    trainer.run(60)
    folder = tmp_path_factory.mktemp("proxy")
    save_weights(trainer.averaged(), SPEC, folder, over_base=True)
    return ParentFile(spec=SPEC, weights=weights_path(folder, SPEC)), trainer.averaged()


def read_db(net):
    return mean_db(per_image(net.eval(), image_set("chelsea", role="val"), CPU))


def write_whole(spec, folder, seed=0):
    torch.manual_seed(seed)
    net = build(spec)
    path = folder / "net.safetensors"
    save_file(net.state_dict(), path, metadata={"arch": spec.to_json()})
    return ParentFile(spec=spec, weights=path), net


def test_weights_of_the_same_network_are_taken_as_they_are(patches, tmp_path):
    file, net = write_whole(SPEC, tmp_path)
    beginning = begin_from(file, SPEC, patches, seed=0)
    assert beginning.is_whole
    assert beginning.notes == ()
    first, second = beginning.make(False), beginning.make(False)
    for name, value in net.state_dict().items():
        assert torch.equal(first.state_dict()[name], value)
    first.stem.weight.data.zero_()  # each is a network of its own
    assert torch.equal(second.stem.weight, net.stem.weight)


def test_proxy_weights_are_a_residual_or_take_their_base_in(patches, proxy_file):
    file, residual = proxy_file
    beginning = begin_from(file, SPEC, patches, seed=0)
    assert not beginning.is_whole
    state = beginning.make(True).state_dict()
    assert all(torch.equal(state[name], value) for name, value in residual.state_dict().items())

    # A small network cannot hold both; it is far better than one that starts afresh.
    whole_db = read_db(beginning.make(False))
    assert whole_db > read_db(begin_fresh(SPEC, patches, seed=0).make(False)) - 0.2
    assert whole_db > read_db(OverBase(residual)) - 1.0


@pytest.mark.parametrize("change", [{"channels": 10}, {"num_blocks": 1}, {"channels": 16}])
def test_another_size_keeps_what_corresponds(patches, proxy_file, change):
    other = tiny_spec(**{"channels": 12, "taps": "all", "num_blocks": 2} | change)
    beginning = begin_from(proxy_file[0], other, patches, seed=0)
    assert "channels and blocks that correspond are carried over" in beginning.notes[0]
    assert len(beginning.notes) > 1

    # Fresh weights give the base alone; most of what the file's add to it is kept.
    base_db = read_db(OverBase(begin_fresh(other, patches, seed=0).make(True)))
    learned_db = read_db(OverBase(proxy_file[1])) - base_db
    assert read_db(OverBase(beginning.make(True))) - base_db > 0.7 * learned_db > 0


def test_layers_that_do_not_correspond_are_kept_by_name(patches, tmp_path):
    file, net = write_whole(published("zenosr"), tmp_path)
    beginning = begin_from(file, SPEC, patches, seed=0)
    assert "equal names and shapes" in beginning.notes[0]
    made = beginning.make(not beginning.is_whole).state_dict()
    same = [
        name
        for name, value in net.state_dict().items()
        if name in made and made[name].shape == value.shape
    ]
    assert all(torch.equal(made[name], net.state_dict()[name]) for name in same)


def test_many_differences_are_counted():
    theirs = {f"blocks.{i}.weight": torch.Size([1]) for i in range(9)}
    (line,) = describe_differences(theirs, {})
    assert line.endswith("blocks.4, blocks.5 and 3 more")
