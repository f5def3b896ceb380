"""Longer trainings that are kept: found by all that they follow from, and by nothing less."""

import dataclasses
import json
import os

import pytest
import torch

from benchmarks.proxy.longer_ladder import PRESETS, open_ladder
from nas.analysis.ladder import RUNGS, LadderRun, rung_spec
from nas.analysis.lasting import list_readings
from nas.commands.search import compose_search
from nas.search.backends.training import gather_settings
from nas.search.engines.base import Placement
from nas.search.evaluation.evaluator import ProxyEvaluator
from nas.search.evaluation.requests import TrialRequest
from nas.search.longer import kept
from nas.search.longer.kept import KeptLadder, make_key
from nas.system.files.user_cache import user_cache
from nas.train.parent import ParentFile
from search_spaces import published

RUN = LadderRun(
    rung="28x6", seed=0, psnr_db=26.123456789, base_db=25.0, fidelity=80, train_seconds=3.5,
    curve=((20, 25.5), (80, 26.123456789)),
)  # fmt: skip
PROXY = compose_search("proxy.steps=20").training.proxy


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "esr-nas" / "ladders"


def make_ladder(**changes):
    values = {
        "fingerprints": {"train": "2-aa", "val": "2-bb", "test": "2-cc"}, "proxy": PROXY, "parent": None,
        "scale": 4, "device_type": "cpu",
    } | changes  # fmt: skip
    return KeptLadder(key=make_key(**values), steps=80)


def test_what_is_kept_is_found_by_another_search_and_reads_back_equal(cache):
    assert make_ladder().find("28x6") is None
    assert make_ladder().keep(RUN) == ""
    known = make_ladder().find("28x6")
    assert known.run == RUN
    assert str(cache) in known.origin
    assert make_ladder().find("20x4") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprints": {"train": "2-ax", "val": "2-bb"}},
        {"fingerprints": {"train": "2-aa", "val": "2-bx"}},
        {"proxy": dataclasses.replace(PROXY, steps=21)},
        {"proxy": dataclasses.replace(PROXY, ema=0.5)},
        {"proxy": dataclasses.replace(PROXY, optimizer=dataclasses.replace(PROXY.optimizer, lr=1e-3))},
        {"scale": 2},
        {"device_type": "cuda"},
    ],
)  # fmt: skip
def test_what_is_kept_is_not_found_under_other_conditions(changes):
    make_ladder().keep(RUN)
    assert make_ladder(**changes).find("28x6") is None


def test_the_test_set_does_not_change_what_is_found():
    make_ladder().keep(RUN)
    assert make_ladder(fingerprints={"train": "2-aa", "val": "2-bb"}).find("28x6").run == RUN


def test_what_started_from_a_parent_is_found_by_its_weights(tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"first")
    parent = ParentFile(spec=published("span"), weights=weights)
    make_ladder(parent=parent).keep(RUN)
    assert make_ladder().find("28x6") is None
    assert make_ladder(parent=parent).find("28x6").run == RUN
    weights.write_bytes(b"other")
    assert make_ladder(parent=parent).find("28x6") is None


def test_code_that_trains_otherwise_finds_nothing(monkeypatch):
    make_ladder().keep(RUN)
    monkeypatch.setattr(kept, "TRAINING_VERSION", kept.TRAINING_VERSION + 1)
    assert make_ladder().find("28x6") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("26.123456789", "26.923456789"),
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"seed": 0', '"seed": -1'),
        lambda text: text.replace('"2-aa"', '"2-ab"'),
        lambda text: text + "\0",
    ],
)
def test_damaged_file_is_as_good_as_none_and_is_written_anew(cache, damage):
    make_ladder().keep(RUN)
    (file,) = cache.iterdir()
    file.write_text(damage(file.read_text()))
    assert make_ladder().find("28x6") is None
    assert make_ladder().keep(RUN) == ""
    assert make_ladder().find("28x6").run == RUN


def test_cache_that_cannot_be_used_is_told_and_ends_nothing(cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("no folder")
    reason = make_ladder().keep(RUN)
    assert reason.startswith("the longer training of 28x6 is not kept for later searches: ")
    assert str(cache) in reason
    assert make_ladder().find("28x6") is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="folders of other users are known by POSIX")
def test_what_others_may_have_written_is_not_believed(cache):
    make_ladder().keep(RUN)
    cache.chmod(0o777)
    assert make_ladder().find("28x6") is None


# What ships.


@pytest.fixture(scope="module")
def ladders():
    """The default search with each preset, as it is today; the images are in the user's own cache."""
    return {preset: open_ladder(preset) for preset in PRESETS}


@pytest.fixture
def own_cache(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")


def test_the_whole_ladder_of_the_default_search_ships(ladders):
    """It fails where images or proxy changed: python benchmarks/proxy/longer_ladder.py makes it anew."""
    assert "brief" in ladders  # the default of proxy=
    for preset, (config, _, ladder) in ladders.items():
        steps = config.training.proxy.steps
        for size in RUNGS:
            known = ladder.find(size)
            assert known is not None, f"{preset} {size} does not ship for today's images and proxy"
            assert known.origin == "shipped with this package"
            assert (known.run.rung, known.run.fidelity) == (size, 4 * steps)
            assert [reading for reading, _ in known.run.curve] == [*list_readings(steps)]
    assert len(kept.read_shipped()) == len(RUNGS) * len(PRESETS)


def test_trainings_today_read_what_ships(ladders, tmp_path, own_cache):
    """It fails where the code trains otherwise: count TRAINING_VERSION up, and make the file anew."""
    config, roles, ladder = ladders["quick"]
    settings = gather_settings(
        config.training,
        config.reading,
        None,
        roles,
        run=tmp_path,
        placement=Placement(num_workers=1, num_per_host=1),
        device=torch.device("cpu"),
        seed=5,  # of the run: longer trainings do not depend on it
        baseline=published("span"),
    )
    trainings = ProxyEvaluator(settings).trainings.lengthen()
    first = trainings.settings.fidelities[0]
    spec = rung_spec("12x1", 4)
    request = TrialRequest(number=0, spec=spec, until=first, reference_db=None)
    quality = trainings.train(request, ("ladder", "12x1", 0), lambda words: None, keep=False)
    shipped = ladder.find("12x1").run
    assert quality.base_db == pytest.approx(shipped.base_db, abs=1e-3)
    assert quality.psnr_db == pytest.approx(dict(shipped.curve)[first], abs=2e-3)


def test_file_that_ships_holds_whole_lines_alone():
    lines = kept.SHIPPED.read_text(encoding="ascii").splitlines()
    assert len(lines) == len(kept.read_shipped())
    for line in lines:
        assert json.loads(line)["check"]
    assert not user_cache("ladders").exists()
