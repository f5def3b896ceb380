"""Whose fault it is that a trial was not evaluated, and what becomes of it."""

import dataclasses
import shutil

import pytest

from nas.analysis.ladder import LadderRun, rung_spec
from nas.search.config import Budget
from nas.search.controller import Controller
from nas.search.engines.base import Placement
from nas.search.engines.simulated import SimulatedEngine
from nas.search.engines.tasks import started
from nas.search.store.told_values import find_told_values
from nas.system.faults import ArchitectureError, MachineError
from tests.nas.search.engines.formula import FormulaEvaluator
from tests.nas.search.studies import open_search, quality_of, record_of, rows

DISK = OSError(28, "No space left on device")


class Faulty(FormulaEvaluator):
    """An evaluator that asks before each call what it is to raise.

    Attributes:
        calls: method and what it is about, of every call: a trial's number, a rung, an arch_id.
    """

    def __init__(self, find_error):
        super().__init__()
        self.find_error = find_error
        self.calls = []
        self.notices = []

    def meet(self, method, about):
        self.calls.append((method, about))
        if error := self.find_error(self.calls):
            raise error

    def baseline(self, say):
        self.meet("baseline", "baseline")
        return super().baseline(say)

    def ladder_run(self, rung, seed, say):
        self.meet("ladder_run", rung)
        quality = quality_of(rung_spec(rung, 4))
        quality = dataclasses.replace(quality, psnr_db=quality.psnr_db + 0.1 * seed)
        curve = ((5, quality.psnr_db - 0.1), (10, quality.psnr_db))
        return LadderRun.of(rung, seed, dataclasses.replace(quality, curve=curve))

    def trial(self, request, screen, say):
        self.meet("trial", request.number)
        quality = dataclasses.replace(quality_of(request.spec), fidelity=request.until)
        return record_of(request, quality=quality)

    def advance(self, request, record, say):
        self.meet("advance", request.number)
        quality = dataclasses.replace(record.quality, fidelity=request.until)
        return dataclasses.replace(record, quality=quality)

    def confirm(self, request, record, say):
        self.meet("confirm", request.number)
        return record

    def read_test(self, spec, say):
        self.meet("read_test", spec.arch_id)
        return super().read_test(spec, say)


def is_well(calls):
    """Nothing goes wrong."""


def breaks(method, about, error=DISK, times=1000):
    """The first so many calls of a method about something go wrong."""

    def find_error(calls):
        call = (method, about)
        return error if calls[-1] == call and calls.count(call) <= times else None

    return find_error


def search(folder, find_error, *, trials=6, retry=False, notify=print, **changes):
    """A session over the study in a folder; gives its asker and its evaluator's calls."""
    budget = Budget(trials=trials, hours=None, confirm=changes.pop("confirm", 0))
    count = changes.pop("count", 1)
    asker = open_search(folder, **{"sampler": "random"} | changes)
    if retry:
        asker.study.retry_failed()
    evaluator, engine = Faulty(find_error), SimulatedEngine()
    controller = Controller(
        asker, engine, budget, has_test=True, show=lambda *_: None, changed=lambda: None,
        notify=notify, clock=lambda: engine.now,
    )  # fmt: skip
    with started(engine, lambda: evaluator, Placement(num_workers=count, num_per_host=count)):
        controller.run()
    return asker, evaluator.calls


@pytest.fixture
def undisturbed(tmp_path):
    """The rows of a search in which nothing goes wrong, and its next proposal."""
    (tmp_path / "undisturbed").mkdir()
    asker, _ = search(tmp_path / "undisturbed", is_well)
    return rows(asker.study), asker.ask().spec


def fault(calls, method="trial", about=3):
    return calls.count((method, about))


@pytest.mark.parametrize(
    ("method", "about"),
    [("baseline", "baseline"), ("ladder_run", "16x3"), ("trial", 3)],
)
def test_fault_of_the_machine_costs_nothing_where_it_passes(tmp_path, undisturbed, method, about):
    asker, calls = search(tmp_path, breaks(method, about, times=2))
    assert fault(calls, method, about) == 3
    assert (rows(asker.study), asker.ask().spec) == undisturbed


@pytest.mark.parametrize(
    ("method", "about", "count"),
    [
        ("baseline", "baseline", 1),
        ("ladder_run", "16x3", 1),
        ("trial", 1, 1),
        ("trial", 3, 1),
        ("trial", 3, 4),
    ],
)
@pytest.mark.parametrize("error", [DISK, RuntimeError("CUDA error: unspecified launch failure")])
def test_third_fault_in_a_row_ends_the_session_and_the_next_one_loses_nothing(
    tmp_path, undisturbed, method, about, error, count
):
    what = f"trial {about}" if method == "trial" else about
    with pytest.raises(
        MachineError, match=rf"{what}.*: {type(error).__name__}: .*3 times in a row"
    ):
        search(tmp_path, breaks(method, about, error), count=count)
    before = rows(open_search(tmp_path, sampler="random").study)
    assert (
        before == undisturbed[0][: len(before)] if count == 1 else set(before) < set(undisturbed[0])
    )
    asker, calls = search(tmp_path, is_well)
    assert [number for name, number in calls if name == "trial"] == [
        number
        for number, *_ in undisturbed[0]
        if number not in dict.fromkeys(r[0] for r in before) and number > 0
    ]
    assert (rows(asker.study), asker.ask().spec) == undisturbed
    assert asker.study.suspects == {}


def test_fault_of_the_network_is_a_failed_row_at_once(tmp_path):
    error = ArchitectureError("it cannot be built: ValueError: kernel must be odd")
    asker, calls = search(tmp_path, breaks("trial", 3, error))
    record = asker.study.records[3]
    assert (record.state, record.error) == ("failed", f"ArchitectureError: {error}")
    assert fault(calls) == 1
    assert asker.study.num_counted == 6


class AllAtOnce(SimulatedEngine):
    """Its results come back together."""

    def results(self, timeout):
        while self._running:
            yield from super().results(timeout)


@pytest.mark.parametrize("method", ["trial", "ladder_run"])
def test_row_of_other_images_ends_the_session_and_loses_none_that_came_with_it(tmp_path, method):
    class Other(Faulty):
        """Reads the images of one network anew, which somebody changed for a while."""

        def trial(self, request, screen, say):
            record = super().trial(request, screen, say)
            if method == "ladder_run" or request.number != 2:
                return record
            quality = dataclasses.replace(record.quality, base_db=24.0)
            return dataclasses.replace(record, quality=quality)

        def ladder_run(self, rung, seed, say):
            run = super().ladder_run(rung, seed, say)
            is_other = method == "ladder_run" and rung == "16x3"
            return dataclasses.replace(run, base_db=24.0) if is_other else run

    asker = open_search(tmp_path, sampler="random")
    engine, evaluator = AllAtOnce(), Other(is_well)
    controller = Controller(
        asker, engine, Budget(trials=6, hours=None), has_test=False, show=lambda *_: None,
        changed=lambda: None, clock=lambda: engine.now,
    )  # fmt: skip
    placement = Placement(num_workers=4, num_per_host=4)
    with (
        started(engine, lambda: evaluator, placement),
        pytest.raises(MachineError, match=r"^data.val: the images changed under the search"),
    ):
        controller.run()
    study = open_search(tmp_path, sampler="random").study
    if method == "trial":
        assert sorted(study.records) == [0, 1, 3, 4]  # all that came with it
    else:
        assert len(study.ladder) == len(study.ladder_sizes) - 1


@pytest.mark.parametrize("method", ["trial", "advance"])
def test_network_that_breaks_its_worker_whenever_it_is_evaluated_becomes_a_failed_row(
    tmp_path, method
):
    """It ends one session; in the next one it runs alone, and others go through."""
    breaking = breaks(method, 3, RuntimeError("worker died: killed by SIGSEGV"))
    rungs = {"fidelities": (5, 10), "num_probes": 4} if method == "advance" else {}
    with pytest.raises(MachineError):
        search(tmp_path, breaking, count=2, **rungs)
    asker, calls = search(tmp_path, breaking, count=2, **rungs)
    assert calls[:5] == [(method, 3)] * 3 + [("baseline", "baseline"), ("ladder_run", "12x1")]
    record = asker.study.records[3]
    assert record.state == "failed"
    assert record.error == (
        "RuntimeError: worker died: killed by SIGSEGV "
        "(at every try of two sessions, while other networks go through)"
    )
    assert asker.study.num_counted == 6
    assert open_search(tmp_path, sampler="random", **rungs).study.suspects == {}


def test_machine_that_stays_broken_makes_no_failed_row(tmp_path, undisturbed):
    def find_error(calls):
        return DISK if ("trial", 3) in calls else None

    for _ in range(3):
        with pytest.raises(MachineError, match=r"^trial 3: OSError: .* \(3 times in a row\)"):
            search(tmp_path, lambda calls: DISK if find_error(calls) or calls[0][1] == 3 else None)
    asker, _ = search(tmp_path, is_well)
    assert (rows(asker.study), asker.ask().spec) == undisturbed


@pytest.mark.parametrize("count", [1, 2])
def test_network_that_needs_more_memory_than_there_is_is_a_failed_row(tmp_path, count):
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    asker, calls = search(tmp_path, breaks("trial", 3, error), count=count)
    assert asker.study.records[3].state == "failed"
    assert "can't allocate memory" in asker.study.records[3].error
    assert fault(calls) == count  # beside another one it is tried again, alone
    assert asker.study.num_counted == 6


def test_network_that_needs_all_the_memory_is_evaluated_alone(tmp_path):
    asker, calls = search(tmp_path, breaks("trial", 3, MemoryError(), times=1), count=2)
    assert asker.study.records[3].state == "complete"
    assert fault(calls) == 2
    again = len(calls) - 1 - calls[::-1].index(("trial", 3))
    assert ("trial", 4) in calls[:again]  # which ran beside it, and has ended
    assert asker.study.num_counted == 6


def test_failed_rows_are_evaluated_again_under_their_numbers(tmp_path, undisturbed):
    def fails(calls):
        return ArchitectureError("diverged") if calls[-1] in [("trial", 2), ("trial", 4)] else None

    before, _ = search(tmp_path, fails)
    assert [number for number, _, psnr in rows(before.study) if psnr is None] == [2, 4]

    # Killed after the first of them: the other one stays failed, and is the next session's.
    again = open_search(tmp_path, sampler="random")
    assert again.study.retry_failed() == 2
    first = again.study.pending[0]
    again.study.tell(first, record_of(first))
    again = open_search(tmp_path, sampler="random")
    assert [one.state for one in again.study.records.values()].count("failed") == 1
    assert again.study.pending == []

    after, calls = search(tmp_path, is_well, retry=True)
    assert calls[0] == ("trial", 4)
    assert [name for name, _ in calls if name == "trial"] == ["trial"]
    assert rows(after.study) == undisturbed[0]
    assert after.study.num_counted == 6
    assert rows(open_search(tmp_path, sampler="random").study) == undisturbed[0]


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "gp"])
def test_samplers_of_optuna_learn_what_a_retried_row_came_to(tmp_path, sampler):
    """In one session, and in one that goes on with it."""

    def fails(calls):
        return ArchitectureError("diverged") if calls[-1] in [("trial", 3), ("trial", 6)] else None

    (tmp_path / "a").mkdir()
    search(tmp_path / "a", fails, trials=7, sampler=sampler)
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    whole, _ = search(tmp_path / "a", is_well, trials=12, sampler=sampler, retry=True)
    search(tmp_path / "b", is_well, trials=9, sampler=sampler, retry=True)
    parts, _ = search(tmp_path / "b", is_well, trials=12, sampler=sampler)
    assert rows(parts.study) == rows(whole.study)
    assert parts.study.told == whole.study.told
    for number in (3, 6):
        params = whole.study.suggestions[number].params
        expected = find_told_values(whole.study.records[number], whole.study.state)
        places = [trial for trial in whole.study.told if trial.params == params]
        for told in places:  # it may have been suggested again
            assert (told.values, told.constraints) == expected
            assert told.state == "complete"
    assert parts.ask().spec == whole.ask().spec


def test_second_training_that_fails_leaves_the_first_one(tmp_path):
    told = []
    error = ArchitectureError("out of range")

    def find_error(calls):
        return error if calls[-1][0] == "confirm" else None

    asker, calls = search(tmp_path, find_error, confirm=3, ladder_seeds=3, notify=told.append)
    assert {record.state for record in asker.study.records.values()} == {"complete"}
    assert len(told) == sum(name == "confirm" for name, _ in calls) > 0


def test_search_in_which_no_row_is_in_doubt_confirms_none(tmp_path):
    asker, calls = search(tmp_path, is_well, confirm=3)
    assert asker.study.num_counted == 6
    assert not any(name == "confirm" for name, _ in calls)


@pytest.mark.parametrize("lost", [True, False])
def test_test_set_that_cannot_be_read_for_one_member_ends_nothing(tmp_path, lost):
    """Its weights are lost, or it is to blame otherwise: told, and the others are read."""
    told = []

    class Lossy(Faulty):
        def read_test(self, spec, say):
            self.meet("read_test", spec.arch_id)
            if sum(name == "read_test" for name, _ in self.calls) > 1:
                return quality_of(spec).psnr_db
            if not lost:
                raise MemoryError
            self.notices.append("its weights cannot be read")
            return None

    asker = open_search(tmp_path, sampler="random")
    engine, evaluator = SimulatedEngine(), Lossy(is_well)
    controller = Controller(
        asker, engine, Budget(trials=6, hours=None), has_test=True, show=lambda *_: None,
        changed=lambda: None, notify=told.append, clock=lambda: engine.now,
    )  # fmt: skip
    with started(engine, lambda: evaluator, Placement(num_workers=1, num_per_host=1)):
        assert controller.run() == "6 trials done"
    num_members = sum(name == "read_test" for name, _ in evaluator.calls)
    assert len(asker.study.state.test_psnr_db) == num_members - 1
    assert len(told) == 1
    assert told[0].startswith("trial ")
