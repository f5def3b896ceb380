"""What makes steps faster is found by a trial, kept, and left out where it trains otherwise."""

import dataclasses

import pytest
import torch

from nas.train.run import session
from nas.train.run.checkpoint import read_checkpoint
from nas.train.run.config import TrainingConfig
from nas.train.run.session import LAST
from nas.train.speed import choice
from nas.train.speed.choice import Choice, choose_speed, describe_choice, list_candidates
from nas.train.speed.config import PLAIN, Speed
from nas.train.start import start_network
from nas.train.trainer import StageTrainer
from tests.nas.train.proxies import patch_store
from tests.nas.train.run.trainings import Silent, make_recipe, open_session
from tests.nas.train.test_trainer import STAGE
from tests.search_spaces.tiny import tiny_spec

CPU = torch.device("cpu")
HALF = Speed(precision="bfloat16")


@pytest.fixture(scope="module")
def patches():
    return patch_store("coffee")


@pytest.fixture
def open_trainer(patches):
    def make(speed):
        net = start_network(tiny_spec(), patches, seed=0, patch=8)
        stage = dataclasses.replace(STAGE, steps=1000)
        return StageTrainer(net, stage, patches, shapes=[(8, 8)], device=CPU, speed=speed)

    return make


@pytest.fixture
def paces(monkeypatch):
    """Seconds of a step that a trial finds, by its choice; the steps themselves are taken."""
    found = {}
    take = choice.try_speed

    def take_at_pace(trainer, speed):
        trial = take(trainer, speed)
        return dataclasses.replace(trial, begin_seconds=1.0, step_seconds=found[speed])

    monkeypatch.setattr(choice, "try_speed", take_at_pace)
    return found


def test_cpu_tries_nothing():
    assert list_candidates(CPU) == []


def test_fastest_over_the_stage_is_chosen_and_said(open_trainer, paces):
    paces |= {PLAIN: 0.9, HALF: 0.5}
    chosen = choose_speed(open_trainer, [HALF], steps=1000)
    assert not chosen.reasons
    assert (chosen.speed, chosen.gain) == (HALF, pytest.approx(1.8))
    assert describe_choice(chosen) == "training in bfloat16: 1.8 times as fast as plain steps"


@pytest.mark.parametrize(("plain", "half", "steps"), [(0.9, 0.95, 1000), (0.01, 0.001, 1000)])
def test_what_is_slower_or_not_worth_a_trial_is_not_chosen(open_trainer, paces, plain, half, steps):
    paces |= {PLAIN: plain, HALF: half}
    assert choose_speed(open_trainer, [HALF], steps=steps).speed == PLAIN


def test_what_trains_otherwise_or_cannot_be_had_is_left_out_with_the_reason(open_trainer, paces):
    def open_broken(speed):
        if speed.compiled:
            raise RuntimeError("no compiler here")
        trainer = open_trainer(speed)
        if speed == HALF:  # a tenth more of everything
            forward = trainer.net.forward_with_features
            trainer.net.forward_with_features = lambda x, names: (1.1 * forward(x, names)[0], {})
        return trainer

    compiled = Speed(compiled=True)
    paces |= {PLAIN: 0.9, HALF: 0.1, compiled: 0.1}
    chosen = choose_speed(open_broken, [HALF, compiled], steps=1000)
    assert chosen.speed == PLAIN
    first, second = chosen.reasons
    assert first.startswith("in bfloat16: its images differ by ")
    assert second == "in float32, compiled: no compiler here"
    assert "nothing that was tried is faster (in bfloat16: " in describe_choice(chosen)


def test_half_floats_train_weights_and_losses_in_float32(open_trainer):
    plain, half = open_trainer(PLAIN), open_trainer(HALF)
    for _ in range(3):
        plain.step(), half.step()
    for value in half.net.parameters():
        assert value.dtype == torch.float32
        assert value.grad.dtype == torch.float32
    assert half.losses["fft"] == pytest.approx(plain.losses["fft"], rel=0.02)
    assert half.losses != plain.losses


def test_scaled_gradients_are_unscaled_before_they_are_clipped(open_trainer):
    """Clipped as they are, gradients 1,024 times as large would move nothing else."""
    plain, half = open_trainer(PLAIN), open_trainer(Speed(precision="float16"))
    half._scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # the usual one overflows here
    plain.step(), half.step()
    assert half.state()["scaler"]["scale"] == 1024.0
    ours, theirs = (
        torch.cat([value.grad.flatten() for value in one.net.parameters()]) for one in (half, plain)
    )
    assert (ours - theirs).norm() < 0.1 * theirs.norm()


def test_graphs_are_asked_of_the_compiler_at_each_step(open_trainer, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda function, mode: asked.append(mode) or function)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: asked.append("step"))
    trainer, compiled = (
        open_trainer(Speed(compiled=True, graphs=graphs)) for graphs in (True, False)
    )
    assert trainer.step() == compiled.step()
    assert asked == ["reduce-overhead", None, "step"]
    with pytest.raises(ValueError, match="graphs=True needs compiled=True"):
        Speed(graphs=True)
    assert str(trainer.comparison.speed) == "in float32, compiled, by CUDA graphs"


def test_choice_is_kept_for_a_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "list_candidates", lambda device: [HALF])
    asked = []

    def choose(open_trainer, candidates, *, steps, team):
        asked.append((candidates, steps))
        return Choice(speed=HALF, gain=2.0)

    monkeypatch.setattr(session, "choose_speed", choose)

    class Noting(Silent):
        def tell(self, notice):
            self.notices = [*getattr(self, "notices", []), notice]

    watcher = Noting()
    first = open_session(tmp_path, watcher=watcher).run().net.state_dict()
    assert asked == [([HALF], 8), ([HALF], 6)]
    assert watcher.notices[0] == (
        "stage residual: training in bfloat16: 2.0 times as fast as plain steps"
    )
    saved = read_checkpoint(tmp_path / LAST)
    assert saved.read_speeds(CPU) == {"residual": HALF, "whole": HALF}
    assert saved.read_speeds(torch.device("cuda")) == {}

    # Nothing is tried again, and the weights are those of half floats.
    again = open_session(tmp_path, watcher=Noting()).run().net.state_dict()
    assert len(asked) == 2
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_plain_speed_tries_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "list_candidates", lambda device: 1 / 0)
    training = open_session(tmp_path, recipe=make_recipe(steps=(1, 1)))
    assert isinstance(training.config, TrainingConfig)
    training.config = dataclasses.replace(training.config, speed="plain")
    assert training.run().steps == 2
