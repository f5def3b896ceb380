"""Every part of cost_aware is in its search, and each ablation lacks the part that it is named for."""

import pytest
import search
from landscapes import Landscape

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

    def found(method, noise=0.0, most=MOST):
        run = search.Run(landscape, 0, noise)
        return run, search.ours(run, method, 0, most)

    return found


@pytest.mark.parametrize("method", ["cost_aware", "cost_aware_known", "random_screened"])
def test_screen_takes_effect_and_nothing_is_trained_twice(searched, method, monkeypatch):
    monkeypatch.setattr(search, "DEVIATIONS", -30.0)  # little may be hoped for: much is screened
    run, duplicates = searched(method)
    assert run.screened > 0
    assert duplicates == 0
    assert len(set(run.found)) == len(run.found) == MOST


def test_unscreened_trains_whatever_is_proposed(searched, monkeypatch):
    monkeypatch.setattr(search, "DEVIATIONS", -30.0)
    run, duplicates = searched("cost_aware_unscreened")
    assert (run.screened, run.readings, duplicates) == (0, MOST, 0)


def test_repeats_are_counted(searched):
    run, duplicates = searched("cost_aware_repeats", noise=3.0, most=14)
    assert duplicates == len(run.found) - len(set(run.found)) > 0
