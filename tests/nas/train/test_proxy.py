import doctest
import math
import random

import pytest
import torch
from torch import nn

from nas.measure.quality import mean_db, per_image
from nas.train.proxy import (
    CALIBRATION_STEP,
    OverBase,
    bicubic_base,
    residual_spec,
    start_proxy,
)
from nas.train.trainer import TrainingError
from search_spaces import published
from search_spaces.chooser import RandomChooser
from search_spaces.initialise import initial_network
from search_spaces.published import names
from tests.nas.train.proxies import image_set, patch_store, proxy
from tests.search_spaces.spaces import SPACES, make_space
from tests.search_spaces.tiny import tiny_spec

CPU = torch.device("cpu")
SPECS = {
    "span": tiny_spec(taps="all"),
    "near": tiny_spec(entry="block", num_blocks=2, skip="near", bias=False, head="separable"),
    "bilinear": tiny_spec(skip="bilinear"),
    "nearest": tiny_spec(skip="nearest"),
}


def train_proxy(spec, config, patches, seed):
    trainer = start_proxy(spec, config, patches, seed=seed, device=CPU)
    trainer.run(config.steps, tell=lambda words: None, give_way=lambda: None)
    return trainer.averaged()


@pytest.fixture(scope="module")
def patches():
    return patch_store("coffee")


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_network_starts_exactly_at_the_base(spec):
    x = torch.rand(1, 3, 9, 12)
    net = OverBase(initial_network(residual_spec(spec), 3, x)).eval()
    with torch.no_grad():
        assert torch.equal(net(x), bicubic_base(x, 4))


@pytest.mark.parametrize("name", SPACES)
def test_members_of_every_space_start_exactly_at_the_base(name):
    """Whatever they add to their output: the base has it."""
    x = torch.rand(1, 3, 12, 13)
    for seed in range(15):
        spec = make_space(name).sample(RandomChooser(random.Random(seed)))
        net = OverBase(initial_network(residual_spec(spec), seed, x)).eval()
        with torch.no_grad():
            assert torch.equal(net(x), bicubic_base(x, 4)), spec.to_json()


@pytest.mark.parametrize("name", names())
def test_published_networks_start_exactly_at_the_base(name):
    x = torch.rand(1, 3, 16, 17)
    net = OverBase(initial_network(residual_spec(published(name)), 0, x)).eval()
    with torch.no_grad():
        assert torch.equal(net(x), bicubic_base(x, 4))


@pytest.mark.parametrize("skip", ["bilinear", "nearest"])
def test_fixed_skip_is_what_the_base_stands_in_for(skip, patches):
    spec = tiny_spec(skip=skip)
    assert residual_spec(spec).skip is None
    assert residual_spec(tiny_spec(skip="near")).skip is not None
    net = train_proxy(spec, proxy(), patches, seed=0)
    assert net.spec == residual_spec(spec)
    assert net.spec.arch_id == tiny_spec().arch_id


@pytest.mark.parametrize("attention", ["conv1x1", "diagonal"])
def test_deep_networks_with_learned_gates_train(patches, attention):
    """At the rates of the presets; with a warm-up of six steps instead of eighty."""
    spec = tiny_spec(num_blocks=6, channels=32, attention=attention)
    net = train_proxy(spec, proxy({"lr": 5e-4}, steps=60), patches, seed=0)
    assert all(value.isfinite().all() for value in net.state_dict().values())


@pytest.mark.parametrize("muon_lr", [None, 0.01])
def test_same_seed_gives_the_same_weights_and_another_seed_others(patches, muon_lr):
    config = proxy({"muon_lr": muon_lr})
    nets = [train_proxy(SPECS["span"], config, patches, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (torch.cat([p.flatten() for p in net.parameters()]) for net in nets)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_training_does_not_depend_on_the_random_state_outside(patches):
    found = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        net = train_proxy(SPECS["span"], proxy(), patches, seed=5)
        found.append(torch.cat([p.flatten() for p in net.parameters()]))
    assert torch.equal(*found)


def test_every_candidate_sees_the_same_patches_in_the_same_order(patches):
    seen = {}

    class Watched:
        scale = 4

        def __init__(self, name):
            self.name = name

        def batch(self, step, batch_size, patch):
            lr, hr = patches.batch(step, batch_size, patch)
            seen.setdefault(self.name, []).append((step, lr.clone(), hr.clone()))
            return lr, hr

    for seed, (name, spec) in enumerate(SPECS.items()):
        train_proxy(spec, proxy(), Watched(name), seed=seed)
    first = seen.pop("span")
    assert [step for step, _, _ in first] == [CALIBRATION_STEP, 0, 1, 2, 3]
    for others in seen.values():
        for (step, lr, hr), (other_step, other_lr, other_hr) in zip(first, others, strict=True):
            assert step == other_step
            assert torch.equal(lr, other_lr)
            assert torch.equal(hr, other_hr)


def test_patches_of_a_step_do_not_depend_on_the_steps_before(patches):
    late = patches.batch(7, 2, 16)
    patches.batch(0, 2, 16)
    assert all(torch.equal(a, b) for a, b in zip(late, patches.batch(7, 2, 16), strict=True))


@pytest.mark.parametrize("optimizer", [{"lr": 1.0}, {"lr": 1e25}, {"muon_lr": 1e25}])
def test_diverged_run_is_an_error_of_its_kind(patches, optimizer):
    with pytest.raises(
        TrainingError, match=r"^diverged: the loss was [\w.+]+ at step \d+( \(l1\))?$"
    ) as caught:
        train_proxy(SPECS["span"], proxy(optimizer, steps=12), patches, seed=0)
    assert caught.value.kind == "diverged"


def test_training_learns(patches):
    """A few dozen steps on one photograph beat the base on it."""
    images = image_set("coffee", role="val")
    config = proxy(steps=120, batch_size=8, patch=24)
    net = train_proxy(tiny_spec(channels=16, attention="none"), config, patches, seed=0)
    base = mean_db(per_image(lambda x: bicubic_base(x, 4), images, CPU))
    assert mean_db(per_image(OverBase(net), images, CPU)) > base + 0.1


def test_average_is_that_of_the_warmed_up_decay(patches):
    trainer = start_proxy(SPECS["span"], proxy(ema=0.3, steps=6), patches, seed=0, device=CPU)
    wanted = {name: value.detach().clone() for name, value in trainer.net.named_parameters()}
    for step in range(1, 7):
        trainer.step()
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in trainer.net.named_parameters():
            wanted[name] = decay * wanted[name] + (1 - decay) * value.detach()
    averaged = dict(trainer.averaged().named_parameters())
    assert not trainer.averaged().training
    for name, value in wanted.items():
        torch.testing.assert_close(averaged[name].detach(), value, rtol=1e-5, atol=1e-6)


def rates_of(trainer):
    return [group["lr"] for one in trainer.optimizers for group in one.param_groups]


def test_rates_rise_and_fall_linearly(patches):
    config = proxy(steps=10, warmup=0.2)
    trainer = start_proxy(SPECS["span"], config, patches, seed=0, device=CPU)
    factors = []
    for _ in range(config.steps):
        trainer.step()
        factors.append(
            [rate / peak for rate, peak in zip(rates_of(trainer), trainer.peaks, strict=True)]
        )
    wanted = [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert [one for one, _ in factors] == pytest.approx(wanted)
    assert all(math.isclose(*pair) for pair in factors)


def test_every_parameter_is_trained_by_one_optimizer(patches):
    for spec in (*SPECS.values(), published("span"), published("spanv2")):
        trainer = start_proxy(spec, proxy(), patches, seed=0, device=CPU)
        held = [
            id(p)
            for one in trainer.optimizers
            for group in one.param_groups
            for p in group["params"]
        ]
        assert len(held) == len(set(held))
        assert set(held) == {id(p) for p in trainer.net.parameters()}


def test_over_base_adds_the_base_and_nothing_else():
    net = initial_network(SPECS["span"], 0, torch.rand(1, 3, 8, 8))
    nn.init.normal_(net.upsampler.conv.weight)
    x = torch.rand(1, 3, 6, 6)
    torch.testing.assert_close(OverBase(net)(x), net(x) + bicubic_base(x, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: proxy(steps=0), "steps must be at least 1, got 0"),
        (lambda: proxy(patch=0), "patch must be at least 1, got 0"),
        (lambda: proxy(ema=1.0), "warmup and ema must be at least 0 and below 1"),
        (lambda: proxy(warmup=-0.1), "warmup and ema must be at least 0 and below 1"),
        (lambda: proxy({"lr": 0.0}), "lr, muon_lr and clip must be above 0"),
        (lambda: proxy({"muon_lr": -1.0}), "lr, muon_lr and clip must be above 0"),
        (lambda: proxy({"clip": 0.0}), "lr, muon_lr and clip must be above 0"),
    ],
)
def test_settings_say_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("muon_lr", [None, 0.01])
@pytest.mark.parametrize("pauses", [[3], [1, 2, 5]])
def test_training_that_paused_ends_in_the_same_bits(patches, tmp_path, muon_lr, pauses):
    """Each piece by a trainer of its own, from a file, as another process would do it."""
    spec, config = SPECS["span"], proxy({"muon_lr": muon_lr}, steps=7)
    through = train_proxy(spec, config, patches, seed=3)
    for stop in (*pauses, 7):
        trainer = start_proxy(spec, config, patches, seed=3, device=CPU)
        if stop != pauses[0]:
            trainer.restore(torch.load(tmp_path / "state.pt", weights_only=True))
        trainer.run(stop, tell=lambda words: None, give_way=lambda: None)
        torch.save(trainer.state(), tmp_path / "state.pt")
    for a, b in zip(through.parameters(), trainer.averaged().parameters(), strict=True):
        assert torch.equal(a, b)


def test_example_of_the_trainer_runs(patches):
    names = {"start_proxy": start_proxy, "config": proxy(), "patches": patches}
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(start_proxy, "start_proxy", globs=names)
    result = doctest.DocTestRunner().run(example)
    assert result.attempted == 8
    assert result.failed == 0
