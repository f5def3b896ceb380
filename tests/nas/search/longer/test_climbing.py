"""How a search comes to longer trainings: what is known is taken, the rest is trained and kept."""

import dataclasses

import pytest

from nas.analysis.ladder import RUNGS, LadderRun
from nas.analysis.lasting import LongerPlan
from nas.search.config import Budget
from nas.search.controller import Controller
from nas.search.engines.base import Placement
from nas.search.engines.simulated import SimulatedEngine
from nas.search.engines.tasks import started
from nas.search.longer.base import KnownRun
from nas.system.faults import ArchitectureError, MachineError
from tests.nas.search.engines.formula import FormulaEvaluator
from tests.nas.search.studies import open_search

BRIEF_DB = dict(zip(RUNGS, (25.2, 25.4, 25.6, 25.8), strict=True))
LONGER_DB = dict(zip(RUNGS, (25.3, 25.6, 25.9, 26.2), strict=True))


def longer_run(size, **changes):
    run = LadderRun(
        rung=size, seed=0, psnr_db=LONGER_DB[size], base_db=25.0, fidelity=40, train_seconds=240.0,
        curve=((2, 25.1), (5, 25.2), (40, LONGER_DB[size])),
    )  # fmt: skip
    return dataclasses.replace(run, **changes)


class Climber(FormulaEvaluator):
    """Trains the ladder by a table; `broken` is what a size's longer training raises."""

    def __init__(self, brief_db, broken):
        super().__init__()
        self.brief_db, self.broken, self.longer = brief_db, broken, []

    def ladder_run(self, rung, seed, say):
        psnr_db = self.brief_db[rung] + 0.001 * seed
        return LadderRun(
            rung=rung, seed=seed, psnr_db=psnr_db, base_db=25.0, fidelity=10, train_seconds=60.0
        )

    def longer_run(self, rung, say):
        self.longer.append(rung)
        if rung in self.broken:
            raise self.broken[rung]
        return longer_run(rung)


class Kept:
    """Longer trainings that are kept in a dictionary."""

    steps = 40

    def __init__(self, runs=()):
        self.runs = {run.rung: run for run in runs}
        self.kept = []

    def find(self, size):
        run = self.runs.get(size)
        return run and KnownRun(run=run, origin="kept in a dictionary")

    def keep(self, run):
        self.kept.append(run.rung)
        self.runs[run.rung] = run
        return "" if run.rung != "12x1" else "the dictionary is full"


@pytest.fixture
def search(tmp_path):
    """A session of two trials over the study in a folder; gives state, longer trainings, notices."""

    def run(longer, brief_db=None, broken=None, trials=2):
        plan = LongerPlan(steps=longer.steps) if longer else LongerPlan(reason="ladder_long=false")
        asker = open_search(tmp_path, sampler="random", ladder_seeds=3, longer_plan=plan)
        evaluator = Climber(brief_db or BRIEF_DB, broken or {})
        engine, told = SimulatedEngine(), []
        controller = Controller(
            asker, engine, Budget(trials=trials, hours=None), has_test=False, longer=longer,
            show=lambda *_: None, changed=lambda: None, notify=told.append, clock=lambda: engine.now,
        )  # fmt: skip
        with started(engine, lambda: evaluator, Placement(num_workers=1, num_per_host=1)):
            controller.run()
        return asker.study.state, evaluator.longer, told

    return run


def test_unknown_trainings_are_announced_made_and_kept(search):
    longer = Kept()
    state, trained, told = search(longer)
    assert trained == [*reversed(RUNGS)]
    assert sorted(longer.kept) == sorted(RUNGS)
    assert told[0].startswith(
        "the ladder is trained once more (28x6, 20x4, 16x3, 12x1; 40 steps) to see whether its order"
    )
    assert "about 16 minutes" in told[0]  # four times 60 seconds each
    assert "ladder_long=false leaves it out" in told[0]
    assert told[1:] == ["the dictionary is full"]
    assert state.verdict.passes
    assert state.verdict.lasting.longest == 40


def test_known_trainings_are_taken_and_told(search):
    state, trained, told = search(Kept(map(longer_run, RUNGS)))
    assert not trained
    assert told == ["ladder at 40 steps, kept in a dictionary: 28x6, 20x4, 16x3, 12x1"]
    assert state.verdict.passes


def test_session_that_goes_on_trains_nothing_twice(search):
    longer = Kept()
    with pytest.raises(MachineError):
        search(longer, broken={"16x3": OSError(28, "No space left on device")})
    state, trained, _ = search(longer)
    assert trained == ["16x3", "12x1"]
    assert state.can_rank
    again, trained, told = search(longer, trials=4)
    assert not trained
    assert not told
    assert {*again.longer_ladder} == {*state.longer_ladder}
    assert again.verdict == state.verdict


@pytest.mark.parametrize("changes", [{"base_db": 25.1}, {"fidelity": 80}])
def test_what_was_read_on_other_images_or_elsewhere_is_not_taken(search, changes):
    _, trained, _ = search(Kept([longer_run("28x6", **changes)]))
    assert trained[0] == "28x6"


def test_ladder_that_fails_has_its_largest_size_trained_alone(search):
    state, trained, told = search(Kept(), brief_db=BRIEF_DB | {"16x3": 25.1})
    assert trained == ["28x6"]
    assert "to see how far the data last" in told[0]
    assert not state.can_rank
    assert state.verdict.lasting.longest == 40


def test_training_that_fails_for_its_network_leaves_the_ladder_as_it_was(search):
    state, _, told = search(Kept(), broken={"20x4": ArchitectureError("diverged")})
    assert any("longer ladder 20x4: longer_run failed" in notice for notice in told)
    assert state.can_rank
    assert state.verdict.lasting is None
    assert state.longer_plan.reason.startswith("longer ladder 20x4 failed: ")
    _, trained, told = search(Kept())
    assert not trained
    assert not told


def test_without_it_nothing_is_trained_longer(search):
    state, trained, told = search(None)
    assert not trained
    assert not told
    assert state.can_rank
    assert state.longer_plan.reason == "ladder_long=false"
