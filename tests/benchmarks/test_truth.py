"""The long trainings that proxies are judged by."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.proxy import truth as benchmark
from nas.analysis.ladder import rung_spec
from nas.data.sets import ImageSet, Pair
from nas.train.trainer import StageTrainer


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of tiny trainings on noise."""
    rng = np.random.default_rng(0)
    pairs = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.png"
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(path)
        pairs.append(Pair(name, path, size=(96, 96)))
    images = ImageSet(name="train", pairs=tuple(pairs), scale=4, weights=(), on_error="stop")
    monkeypatch.setattr(benchmark, "open_sets", lambda shared: (images, {"Set14": images}))
    monkeypatch.setattr(benchmark, "list_networks", lambda: {"12x1": rung_spec("12x1", 4)})
    return benchmark.Study(tmp_path, tmp_path / "truth.jsonl", tmp_path / "checkpoints")


@pytest.fixture
def tiny():
    return benchmark.Training(network="12x1", seed=0, steps=50, muon_lr=0.005, lr=5e-4)


def test_a_training_is_one_line_and_not_made_twice(study, tiny):
    line = study.run(tiny)
    assert line["readings"] == list(tiny.readings)
    assert len(line["psnr_db"]["Set14"]) == len(benchmark.READINGS)
    assert study.run(tiny) == line
    assert [json.loads(text) for text in study.results.read_text().splitlines()] == [line]
    assert not list(study.checkpoints.iterdir())


def test_a_training_that_was_stopped_goes_on_to_the_same_end(study, tiny, monkeypatch):
    whole = study.run(tiny)
    study.results.unlink()
    trained = StageTrainer.run

    def stop_half_way(trainer, until, **kwargs):
        if until > tiny.steps // 2:
            raise KeyboardInterrupt
        trained(trainer, until, **kwargs)

    monkeypatch.setattr(StageTrainer, "run", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        study.run(tiny)
    assert not study.results.exists()
    monkeypatch.setattr(StageTrainer, "run", trained)
    assert study.run(tiny)["psnr_db"] == whole["psnr_db"]


def test_every_network_is_trained_once_before_any_is_trained_again():
    names = benchmark.list_names()
    trainings = list(benchmark.list_trainings(names))
    seeds = [training.seed for training in trainings]
    assert [training.network for training in trainings[: len(names)]] == names
    assert seeds == sorted(seeds)
    assert seeds.count(0) == len(set(names)) == 34
    assert seeds.count(1) == len(benchmark.TWICE)
