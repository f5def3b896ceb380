"""Every part of cost_aware is in its search; an ablation lacks the part that it is named for."""

import dataclasses

import pytest

from benchmarks.search import search
from benchmarks.search.landscapes import LANDSCAPES, Landscape
from nas.search.samplers.base import Sampler
from nas.search.screening import Screen

MOST = 10


@pytest.fixture
def landscape():
    """72 points of which the front holds a few: half of the words cost and bring nothing."""

    def value(at):
        x, y, worse = at["x"], at["y"], {"a": 0.0, "b": 0.4}[at["word"]]
        return x + 0.3 * y - worse, 1 + x + 0.5 * y + worse

    options = {"x": tuple(range(6)), "y": tuple(range(6)), "word": ("a", "b")}
    return Landscape(options=options, value=value, corner=(0.0, 12.0))


@pytest.fixture
def searched(landscape, monkeypatch):
    """Search for so many trainings, whatever was found."""
    monkeypatch.setattr(search, "SHARES", (0.9, 2.0))

    def search_method(method, noise=0.0, most=MOST):
        run = search.Run(landscape, 0, noise, is_known=method.endswith("_known"))
        search.search_by_sampler(run, search.OURS[method](), most)
        return run

    return search_method


@pytest.fixture
def pessimistic(monkeypatch):
    """Hope for 1.5 dB less than what is predicted: much is screened."""

    class Pessimistic(Screen):
        @classmethod
        def of(cls, observations, predicted, max_deviations):
            screen = Screen.of(observations, predicted, max_deviations)
            return dataclasses.replace(screen, bound_db=screen.bound_db - 1.5)

    monkeypatch.setattr(search, "Screen", Pessimistic)


@pytest.mark.usefixtures("pessimistic")
@pytest.mark.parametrize("method", ["cost_aware", "cost_aware_known", "random_screened"])
def test_screen_takes_effect_and_nothing_is_trained_twice(searched, method):
    run = searched(method)
    assert run.screened > 0
    assert run.duplicates == 0
    assert len(set(run.trained)) == len(run.trained) == MOST


@pytest.mark.usefixtures("pessimistic")
def test_unscreened_trains_whatever_is_suggested(searched):
    run = searched("cost_aware_unscreened")
    assert (run.screened, run.readings, run.duplicates) == (0, MOST, 0)


def test_repeats_are_counted(searched):
    run = searched("cost_aware_repeats", noise=3.0, most=14)
    assert run.duplicates == len(run.values) - len(set(run.values)) > 0


@pytest.mark.parametrize("method", [*search.STOCK, *search.OURS])
def test_every_method_is_a_sampler_and_gives_one_line(method, landscape, monkeypatch):
    assert isinstance((search.STOCK | search.OURS)[method](), Sampler)
    monkeypatch.setitem(LANDSCAPES, "small", lambda: landscape)
    monkeypatch.setattr(search, "GIVEN_UP", 7)
    monkeypatch.setattr(search, "MOST", {})
    line = search.search(method, 3, "small", 0.0)
    assert (line["method"], line["seed"], line["landscape"]) == (method, 3, "small")
    assert line["trainings"] <= 7
    assert line["readings"] == (
        0 if method.endswith("_known") else line["trainings"] + line["screened"]
    )
    assert set(line["reached"].values()) <= set(range(1, 8))
    again = search.search(method, 3, "small", 0.0)
    assert again | {"seconds": 0} == line | {"seconds": 0}
