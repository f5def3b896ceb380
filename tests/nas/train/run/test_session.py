"""A run of training: stages, validations, and what a kill leaves."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.data.patches.uses import SourceUse
from nas.train.distill.terms import Features
from nas.train.recipe.config import Patches
from nas.train.run.log import read_log
from nas.train.run.session import LAST
from nas.train.trainer import StageTrainer, TrainingError
from tests.nas.train.run.trainings import SPEC, Silent, make_recipe, open_session

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("through")
    watcher = Silent()
    outcome = open_session(folder, watcher=watcher).run()
    return folder, outcome, watcher


def run_until(folder, steps):
    """Train in a process of its own, which is killed after so many steps; None: to the end."""
    command = [sys.executable, "-m", "tests.nas.train.run.trainings", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for count, _ in enumerate(process.stdout, start=1):
            if count == steps:
                process.kill()
        process.wait()
    return process.returncode


def test_network_gives_whole_images_in_plain_form(uninterrupted):
    _, outcome, _ = uninterrupted
    assert outcome.net.spec == SPEC
    assert outcome.psnr_db > 28  # bicubic: 30.18; a residual alone would be below 15


def test_training_is_validated_and_logged(uninterrupted):
    folder, outcome, watcher = uninterrupted
    assert watcher.steps == list(range(1, 15))
    assert [(reading.stage, reading.step) for reading in watcher.readings] == [
        ("residual", 0), ("residual", 4), ("residual", 8), ("whole", 8), ("whole", 11), ("whole", 14),
    ]  # fmt: skip
    assert read_log(folder) == ({"residual": 8, "whole": 6}, watcher.readings)
    assert set(watcher.readings[-1].losses) == {"l1", "fft", "output", "features"}
    assert outcome.psnr_db == max(one.psnr_db for one in watcher.readings[3:])


def test_killed_training_goes_on_to_the_same_bits(uninterrupted, tmp_path):
    """Killed within the first stage, at the border, and within the second, with its teacher."""
    _, outcome, watcher = uninterrupted
    points = [*random.Random(0).sample(range(1, 5), 2), 6]  # the last within the second
    for count in points:
        assert run_until(tmp_path, count) == -9
    assert run_until(tmp_path, None) == 0
    state = torch.load(tmp_path / "result.pt", weights_only=True)
    wanted = outcome.net.state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    psnrs_db = [one.psnr_db for one in read_log(tmp_path)[1]]
    assert psnrs_db == [one.psnr_db for one in watcher.readings]


def test_hours_shorten_the_stages_alike(tmp_path):
    recipe = make_recipe(steps=(800_000, 200_000))
    watcher = Silent()
    outcome = open_session(tmp_path, recipe=recipe, hours=10 / 3600, watcher=watcher).run()
    residual, whole = watcher.plans[0]
    assert 1 < residual + whole < 10_000
    assert residual == pytest.approx(4 * whole, abs=4)
    assert outcome.psnr_db > 28


def test_too_little_time_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"hours=1e-06 is too short: a step takes"):
        open_session(tmp_path, hours=1e-6).run()  # less than one validation takes anywhere


def test_loss_that_is_not_finite_leaves_a_good_checkpoint(tmp_path, monkeypatch):
    compare = StageTrainer._compare_batch

    def break_late(trainer, part):
        terms = compare(trainer, part)
        is_late = trainer.done == 3 and "fft" in terms
        return {**terms, "l1": terms["l1"] * float("nan")} if is_late else terms

    monkeypatch.setattr(StageTrainer, "_compare_batch", break_late)
    with pytest.raises(TrainingError, match=r"stage whole: the loss was nan at step 3 \(l1\)"):
        open_session(tmp_path).run()
    saved = torch.load(tmp_path / LAST, weights_only=True)
    assert saved["segment"] == 1
    assert all(value.isfinite().all() for value in saved["trainer"]["net"].values())

    # Without the fault it goes on from there.
    monkeypatch.setattr(StageTrainer, "_compare_batch", compare)
    assert open_session(tmp_path).run().psnr_db > 28


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distill": {"f": Features(weight=1.0, layers=[("block9", "block1")])}},
         r"^recipe\.stages\.whole: the network has no feature block9"),
        ({"distill": {"f": Features(weight=1.0, layers=[("block1", "block7")])}},
         r"^recipe\.stages\.whole: the network has no feature block7"),
        ({"patches": Patches(lr=[8, 400], hr=None, batch_size=1, accumulate=1)},
         r"^recipe\.stages\.whole: 1 image\(s\) have LR sides below the patch of 400"),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_later_stage_is_said_before_the_first(tmp_path, changes, message):
    recipe, watcher = make_recipe(), Silent()
    stages = recipe.stages | {"whole": replace(recipe.stages["whole"], **changes)}
    with pytest.raises(ValueError, match=message):
        open_session(tmp_path, recipe=replace(recipe, stages=stages), watcher=watcher).run()
    assert watcher.steps == []


def test_stages_train_on_the_images_of_their_sources(tmp_path, monkeypatch):
    """Two photographs; the second stage takes the first of its source alone."""
    drawn = {}
    draw = StageTrainer._compare_batch

    def note(trainer, part):
        names = [image.name for image in trainer.batches._images]
        drawn.setdefault(trainer.stage.form, set()).add(tuple(names))
        return draw(trainer, part)

    monkeypatch.setattr(StageTrainer, "_compare_batch", note)
    recipe = make_recipe(steps=(1, 1))
    whole = replace(recipe.stages["whole"], sources={"": SourceUse(first=1), "div2k": SourceUse()})
    stages = recipe.stages | {"whole": whole}
    names = ("coffee", "rocket")
    open_session(tmp_path, recipe=replace(recipe, stages=stages), images=names).run()
    assert drawn == {"plain": {("coffee", "rocket")}, "train": {("coffee",)}}


def test_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / LAST).write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"last\.pt: it cannot be read .*remove it to train anew"):
        open_session(tmp_path).run()


@pytest.mark.parametrize(
    "change", ["net", "optimizers", "segment", "far", "best", "steps", "bytes"]
)
def test_checkpoint_of_another_training_is_named(uninterrupted, tmp_path, change):
    folder, _, _ = uninterrupted
    path = tmp_path / LAST
    path.parent.mkdir()
    saved = torch.load(folder / LAST, weights_only=True)
    if change == "net":
        saved["trainer"]["net"].popitem()
    elif change == "optimizers":
        saved["trainer"]["optimizers"] = [{}]
    elif change == "segment":
        saved["segment"] = -1
    elif change == "far":
        saved["segment"] = 7
    elif change == "best":
        saved["best"] = {"a": 1}
    elif change == "steps":
        saved["steps"] = {"residual": "x"}
    torch.save(saved, path)
    if change == "bytes":
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"last\.pt: .*remove it to train anew"):
        open_session(tmp_path).run()
