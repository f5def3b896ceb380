"""A small training of two stages, as a function and as a script that a test may kill."""

import sys
from pathlib import Path

import torch

from nas.losses.frequency import FFT
from nas.losses.pixel import L1
from nas.train.distill.terms import Features, Output
from nas.train.proxy import residual_spec
from nas.train.recipe.config import Patches, Recipe, Stage
from nas.train.recipe.optimizers import AdamW, MuAdamW
from nas.train.recipe.schedules import Cosine, Linear
from nas.train.run.session import TrainingConfig, TrainingSession
from nas.train.start import CALIBRATION_STEP, start_network
from search_spaces.initialise import initial_network
from tests.nas.train.proxies import image_set, patch_store
from tests.search_spaces.tiny import tiny_spec

SPEC = tiny_spec(channels=12, taps="all")
TEACHER = tiny_spec(channels=16)
BETAS = (0.9, 0.99)


def make_recipe(steps=(8, 6)):
    """A residual over a base, plain and by Muon; then whole images, in training form, distilled."""
    residual = Stage(
        steps=steps[0],
        patches=Patches(lr=[8, (6, 10)], hr=None, batch_size=2, accumulate=1),
        losses={"l1": L1(weight=1.0)},
        optimizer=MuAdamW(
            lr=5e-4,
            betas=BETAS,
            decay=0.0,
            relative=False,
            muon_lr=0.005,
            momentum=0.95,
            muon_decay=0.0,
        ),
        schedule=Linear(warmup=0.1),
        ema=0.9,
        clip=0.5,
        form="plain",
        base="bicubic",
    )
    whole = Stage(
        steps=steps[1],
        patches=Patches(lr=None, hr=[32], batch_size=2, accumulate=2),
        losses={"l1": L1(weight=1.0), "fft": FFT(weight=[0.0, 0.1], norm="ortho", parts="complex")},
        distill={
            "output": Output(loss=L1(weight=0.5)),
            "features": Features(weight=0.1, layers=[("block1", "block1")]),
        },
        optimizer=AdamW(lr=1e-5, betas=BETAS, decay=0.0, relative=True),
        schedule=Cosine(warmup=0.0, floor=0.01, periods=[1.0], peaks=[1.0]),
        ema=0.9,
        clip=None,
        form="train",
    )
    stages = {"residual": residual, "whole": whole}
    return Recipe(stages=stages, scale=None, smoke=False, source="a test")


class Silent:
    """Keeps what it is told."""

    def __init__(self):
        self.readings, self.steps, self.plans = [], [], []

    def plan(self, segments):
        self.plans.append([segment.stage.steps for segment in segments])

    def step(self, segment, done):
        self.steps.append(done)

    def tell(self, notice):
        raise AssertionError(notice)

    def read(self, reading):
        self.readings.append(reading)


def open_session(folder, *, recipe=None, hours=None, watcher=None, images=("coffee",)):
    patches = patch_store(*images)

    def start(is_residual):
        if is_residual:
            images, _ = patches.batch(CALIBRATION_STEP, 4, 8)
            return initial_network(residual_spec(SPEC), 0, images)
        return start_network(SPEC, patches, seed=0, patch=8)

    config = TrainingConfig(
        folder=folder,
        spec=SPEC,
        recipe=recipe or make_recipe(),
        sets={"train": image_set(*images), "val": image_set("chelsea", role="val")},
        patches=patches,
        device=torch.device("cpu"),
        seed=0,
        validations=2,
        hours=hours,
        settings="",
    )
    teacher = start_network(TEACHER, patches, seed=1, patch=8).eval()
    return TrainingSession(config, start=start, teacher=teacher, watcher=watcher or Silent())


def main(folder):
    """Train, and say each step on a line of its own; saves at every step."""
    from nas.train.run import session

    session.SAVE_SECONDS = 0.0
    torch.set_num_threads(1)

    class Telling(Silent):
        def step(self, segment, done):
            print(done, flush=True)

    outcome = open_session(Path(folder), watcher=Telling()).run()
    torch.save(outcome.net.state_dict(), Path(folder) / "result.pt")


if __name__ == "__main__":
    main(sys.argv[1])
