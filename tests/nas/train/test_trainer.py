"""The one training loop: what a step does, and how a training goes on."""

import dataclasses

import pytest
import torch

from nas.losses.frequency import FFT
from nas.losses.pixel import L1
from nas.train.distill.imitation import Imitation
from nas.train.distill.terms import Features, Output
from nas.train.recipe.config import Patches, Stage
from nas.train.recipe.optimizers import Adam, AdamW, MuAdamW
from nas.train.recipe.schedules import Linear
from nas.train.start import start_network
from nas.train.trainer import StageTrainer, TrainingError
from search_spaces.network import build
from tests.nas.train.proxies import patch_store
from tests.search_spaces.tiny import tiny_spec

CPU = torch.device("cpu")
BETAS = (0.9, 0.99)
OPTIMIZERS = {
    "adam": Adam(lr=1e-3, betas=BETAS, decay=1e-4),
    "adamw": AdamW(lr=1e-3, betas=BETAS, decay=1e-4, relative=True),
    "muadamw": MuAdamW(
        lr=1e-3,
        betas=BETAS,
        decay=0.0,
        relative=False,
        muon_lr=0.005,
        momentum=0.9,
        muon_decay=0.01,
    ),
}
STAGE = Stage(
    steps=6,
    patches=Patches(lr=[8], hr=None, batch_size=2, accumulate=1),
    losses={"l1": L1(weight=1.0), "fft": FFT(weight=[0.0, 0.1], norm="ortho", parts="complex")},
    optimizer=OPTIMIZERS["adamw"],
    schedule=Linear(warmup=0.2),
    ema=0.9,
    clip=1.0,
    form="plain",
)


@pytest.fixture(scope="module")
def patches():
    return patch_store("coffee")


def make(patches, *, net=None, imitation=None, shapes=((8, 8),), **changes):
    net = net or start_network(tiny_spec(), patches, seed=0, patch=8)
    stage = dataclasses.replace(STAGE, **changes)
    return StageTrainer(net, stage, patches, shapes=shapes, device=CPU, imitation=imitation)


def imitate(patches, net):
    teacher = build(tiny_spec(channels=6)).eval()
    terms = {
        "output": Output(loss=L1(weight=0.5)),
        "features": Features(weight=0.1, layers=[("block1", "block1")]),
    }
    imitation = Imitation(teacher, terms)
    imitation.fit_adapters(net, patches.batch(99, 2, 8)[0], seed=3)
    return imitation


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("form", ["plain", "train"])
@pytest.mark.parametrize("has_teacher", [False, True])
def test_training_that_stopped_goes_on_to_the_same_bits(
    patches, tmp_path, optimizer, form, has_teacher
):
    """Each piece by objects of its own, from a file, as another process would do it."""
    torch.manual_seed(0)
    teacher_start = torch.get_rng_state()

    def open_trainer():
        torch.set_rng_state(teacher_start)
        spec = tiny_spec()
        net = start_network(spec, patches, seed=0, patch=8)
        net = net.unfold(seed=1) if form == "train" else net
        imitation = imitate(patches, net) if has_teacher else None
        return make(patches, net=net, imitation=imitation, optimizer=optimizer)

    through = open_trainer()
    through.run(6)
    for stop in (2, 5, 6):
        trainer = open_trainer()
        if stop != 2:
            trainer.restore(torch.load(tmp_path / "state.pt", weights_only=True))
        trainer.run(stop)
        torch.save(trainer.state(), tmp_path / "state.pt")
    for a, b in zip(through.averaged().parameters(), trainer.averaged().parameters(), strict=True):
        assert torch.equal(a, b)
    if has_teacher:
        ours, theirs = (one.imitation.state_dict() for one in (through, trainer))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_accumulated_batches_make_the_gradient_of_one_large_batch(patches):
    class Both:
        """Two batches of two as one of four."""

        def batch(self, step, batch_size, patch):
            halves = [patches.batch(2 * step + part, 2, patch) for part in range(2)]
            return tuple(torch.cat(sides) for sides in zip(*halves, strict=True))

    split = dataclasses.replace(
        STAGE,
        losses={"l1": L1(weight=1.0)},
        clip=None,
        patches=Patches(lr=[8], hr=None, batch_size=2, accumulate=2),
    )
    whole = dataclasses.replace(split, patches=Patches(lr=[8], hr=None, batch_size=4, accumulate=1))
    trainers = [
        StageTrainer(
            start_network(tiny_spec(), patches, seed=0, patch=8),
            stage,
            source,
            shapes=[(8, 8)],
            device=CPU,
        )
        for stage, source in ((split, patches), (whole, Both()))
    ]
    for trainer in trainers:
        trainer.step()
    for a, b in zip(*(trainer.net.parameters() for trainer in trainers), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_frozen_parameters_keep_their_values(patches):
    trainer = make(patches, frozen=["blocks.*"])
    before = {name: value.clone() for name, value in trainer.net.named_parameters()}
    trainer.run(3)
    for name, value in trainer.net.named_parameters():
        assert torch.equal(value, before[name]) is name.startswith("blocks."), name


def test_loss_that_is_not_finite_is_named_and_changes_nothing(patches):
    class Broken:
        weight = 1.0

        def __call__(self, output, target):
            return output.sum() * float("nan")

    trainer = make(patches, losses={"l1": L1(weight=1.0), "broken": Broken()})
    before = [value.clone() for value in trainer.net.parameters()]
    with pytest.raises(TrainingError, match=r"the loss was nan at step 0 \(broken\)"):
        trainer.step()
    assert all(map(torch.equal, before, trainer.net.parameters()))
    assert trainer.done == 0


def test_weights_of_losses_change_along_the_stage(patches):
    trainer = make(patches)
    totals = []
    for _ in range(6):
        total = trainer.step()
        share = (trainer.done - 1) / 6
        totals.append((total, trainer.losses["l1"] + 0.1 * share * trainer.losses["fft"]))
    assert [total for total, _ in totals] == pytest.approx([wanted for _, wanted in totals])


def test_averaged_network_of_a_training_form_is_its_folded_average(patches):
    net = start_network(tiny_spec(), patches, seed=0, patch=8).unfold(seed=1)
    trainer = make(patches, net=net, form="train")
    trainer.run(4)
    x = torch.rand(1, 3, 8, 8)
    trainer.net.load_state_dict(trainer.average)
    with torch.no_grad():
        torch.testing.assert_close(trainer.averaged()(x), trainer.net(x), rtol=1e-4, atol=1e-5)


def test_shapes_take_turns(patches):
    seen = []

    class Watched:
        def batch(self, step, batch_size, patch):
            seen.append(patch)
            return patches.batch(step, batch_size, patch)

    trainer = StageTrainer(
        start_network(tiny_spec(), patches, seed=0, patch=8),
        STAGE,
        Watched(),
        shapes=[(8, 8), (12, 12)],
        device=CPU,
    )
    trainer.run(3)
    assert seen == [(8, 8), (12, 12), (8, 8)]
