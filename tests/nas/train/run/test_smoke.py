"""Every recipe of conf/ runs through all its stages, a few steps each, on built-in photographs."""

import functools

import pytest
import torch
from PIL import Image
from torch import nn

from nas.data.builtin.photographs import photograph
from nas.data.pixels.images import read_image
from nas.data.sets import ImageSet, Pair
from nas.measure.quality import per_image
from nas.train.proxy import residual_spec
from nas.train.recipe.config import SMOKE_STEPS
from nas.train.run.plan import plan_segments
from nas.train.run.session import TrainingConfig, TrainingSession
from nas.train.start import CALIBRATION_STEP, start_network
from nas.train.trainer import StageTrainer
from search_spaces import ArchSpec, build, published
from search_spaces.initialise import initial_network
from search_spaces.reparam import rep_convs
from tests.nas.train.proxies import patch_store
from tests.nas.train.recipe.recipes import NAMES, load_recipe
from tests.nas.train.run.trainings import Silent

SIDE = 64  # of the val image, in HR pixels


def widen(name, channels, wider):
    text = published(name).to_json()
    return ArchSpec.from_json(text.replace(f'"channels":{channels}', f'"channels":{wider}'))


# The networks that recipes are for, where they are not the published one of their name. The wide
# teacher of DWMamba takes minutes: the student stands in for it.
NETWORKS = {
    "default": functools.partial(published, "span"),
    "finetune": functools.partial(published, "span"),
    "short": functools.partial(published, "span"),
    "disp_teacher": functools.partial(widen, "disp", 32, 64),
    "dwmamba_teacher": functools.partial(published, "dwmamba"),
}
# Teachers whose features are asked for have the real ones' layers; of others the image is enough.
TEACHERS = {
    "pds": functools.partial(published, "spanf"),
    "pkdsr": functools.partial(published, "spanf"),
    "dscf_fused": functools.partial(widen, "span", 28, 30),
    "disp": functools.partial(widen, "disp", 32, 64),
    "safmn_deep15": functools.partial(published, "span"),
}


def make_teacher(name, patches):
    if name in TEACHERS:
        return start_network(TEACHERS[name](), patches, seed=1, patch=16).eval()
    return nn.Upsample(scale_factor=4, mode="bicubic")


class AverageByHand:
    """Averages the weights of a training as recipes.md says: e <- d e + (1 - d) p, from e = p.

    The decay d warms up: after s steps it is at most (1 + s) / (10 + s).
    """

    def __init__(self, monkeypatch):
        step = StageTrainer.step

        def follow(trainer):
            if trainer.done == 0:
                self.average = self.read(trainer)
            loss = step(trainer)
            decay = min(trainer.stage.ema, (1 + trainer.done) / (10 + trainer.done))
            self.current, self.form = self.read(trainer), next(rep_convs(trainer.net), None)
            for name, value in self.current.items():
                self.average[name] = decay * self.average[name] + (1 - decay) * value
            return loss

        monkeypatch.setattr(StageTrainer, "step", follow)

    def read(self, trainer):
        return {name: value.detach().clone() for name, value in trainer.net.named_parameters()}

    def build(self, spec, weights):
        net = build(spec, train=self.form is not None)
        net.load_state_dict(weights)
        return (net.fold() if self.form else net).eval()


@pytest.fixture(scope="module")
def patches():
    return patch_store("coffee")


@pytest.fixture(scope="module")
def val(tmp_path_factory):
    """A small crop of a photograph that is not trained on."""
    path = tmp_path_factory.mktemp("val") / "eye.png"
    pixels = read_image(photograph("chelsea", source="").hr)[90 : 90 + SIDE, 140 : 140 + SIDE]
    Image.fromarray(pixels).save(path)
    return ImageSet(name="val", pairs=(Pair("eye", path, size=(SIDE, SIDE)),), scale=4)


@pytest.mark.parametrize("name", NAMES)
def test_recipe_runs_through_all_its_stages(name, tmp_path, monkeypatch, patches, val):
    spec = NETWORKS.get(name, functools.partial(published, name))()
    recipe = load_recipe(name, "recipe.smoke=true")

    def start(is_residual):
        if is_residual:
            return initial_network(
                residual_spec(spec), 0, patches.batch(CALIBRATION_STEP, 4, 16)[0]
            )
        return start_network(spec, patches, seed=0, patch=16)

    config = TrainingConfig(
        folder=tmp_path, spec=spec, recipe=recipe, sets={"val": val}, patches=patches,
        device=torch.device("cpu"), seed=0, validations=1, hours=None, settings="",
    )  # fmt: skip
    teacher = make_teacher(name, patches) if recipe.needs_teacher else None
    watcher, by_hand = Silent(), AverageByHand(monkeypatch)
    evaluated = []

    def note(upscale, *rest):
        evaluated.append(upscale)
        assert per_image(upscale, *rest)
        return {"image": float(len(evaluated))}  # three steps gain nothing: else the start is kept

    monkeypatch.setattr("nas.train.run.session.per_image", note)
    outcome = TrainingSession(config, start=start, teacher=teacher, watcher=watcher).run()

    # Every stage ran to its end, was validated there, and its losses are those of the recipe.
    segments = plan_segments(recipe)
    assert len(watcher.steps) == SMOKE_STEPS * len(segments)
    names = [segment.name for segment in segments]
    readings = [reading for reading in watcher.readings if reading.losses]
    assert [reading.stage for reading in watcher.readings if not reading.losses] == names
    assert [reading.stage for reading in readings] == names
    for reading, segment in zip(readings, segments, strict=True):
        assert set(reading.losses) == {*segment.stage.losses, *segment.stage.distill}

    # What is validated last, and what is kept in the end, are the averaged weights, not the last.
    assert outcome.net.spec == spec
    pixels = torch.from_numpy(val.load(0)[0].copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        averaged = by_hand.build(spec, by_hand.average)(pixels)
        last = by_hand.build(spec, by_hand.current)(pixels)
        for upscale in (evaluated[-2], outcome.net):
            image = upscale(pixels)
            assert (image - averaged).abs().max() < 0.05 * (image - last).abs().max()
