"""What every engine does, and how the local one survives the deaths of its workers."""

import doctest
import functools
import os
import signal
import threading

import pytest

from nas.measure.lock import exclusive, users
from nas.search.backends import base as backends
from nas.search.engines import base, faults, local, simulated, tasks
from nas.search.engines.base import Placement, Task
from nas.search.engines.local import LocalEngine
from nas.search.engines.simulated import SimulatedEngine
from nas.search.engines.tasks import MAX_RETRIES, Dispatcher, Retries, run_task, run_tasks, started
from nas.search.table import table
from nas.system import lock_waits
from nas.system.faults import ArchitectureError
from nas.system.files.owned_folder import sweep_folders
from tests.nas.search.engines.formula import (
    DyingEvaluator,
    FormulaEvaluator,
    OwningEvaluator,
    SameProcessEngine,
)
from tests.nas.search.studies import quality_of
from tests.search_spaces.tiny import tiny_spec

ENGINES = [LocalEngine, SimulatedEngine, SameProcessEngine]
SPEC = tiny_spec()
ONE = Placement(num_workers=1, num_per_host=1)
TWO = Placement(num_workers=2, num_per_host=2)


def training(seed):
    return Task(key=f"training {seed}", method="train", args=(SPEC, seed, None))


@pytest.mark.parametrize("kind", ENGINES)
def test_engine_runs_each_task_once_and_says_what_runs(kind):
    engine = kind()
    assert engine.idle == 0
    placement = engine.place_workers(2, "cpu")
    with started(engine, FormulaEvaluator, placement):
        assert engine.idle == placement.num_workers
        first = [training(seed) for seed in range(placement.num_workers)]
        for task in first:
            engine.submit(task)
        assert (engine.idle, set(engine.doing)) == (0, {task.key for task in first})
        results = list(run_tasks_after(engine, first))
        assert {result.task.key for result in results} == {task.key for task in first}
        assert (engine.idle, engine.doing) == (placement.num_workers, {})

        many = [training(seed) for seed in range(7)]
        results = list(run_tasks(engine, many))
        assert sorted(result.task.key for result in results) == sorted(task.key for task in many)
        assert {result.value for result in results} == {quality_of(SPEC)}
    assert engine.idle == 0


def run_tasks_after(engine, submitted):
    """Give the results of tasks that were submitted already."""
    num_left = len(submitted)
    while num_left:
        for result in engine.results(0.2):
            num_left -= 1
            yield result


@pytest.mark.parametrize("kind", ENGINES)
def test_error_of_an_evaluator_is_its_tasks_alone_and_an_engine_starts_again(kind):
    engine = kind()
    for _ in range(2):
        with started(engine, FormulaEvaluator, engine.place_workers(1, "cpu")):
            failed, fine = run_tasks(engine, [training(-1), training(1)])
        assert failed.error == "ArchitectureError: seed must be at least 0, got -1"
        assert (failed.value, failed.died, failed.fault) == (None, False, "architecture")
        assert (fine.error, fine.value) == ("", quality_of(SPEC))


@pytest.mark.parametrize("kind", ENGINES)
def test_engine_is_stopped_where_its_user_fails(kind):
    engine = kind()

    def interrupt():
        with started(engine, FormulaEvaluator, engine.place_workers(1, "cpu")):
            engine.submit(training(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert (engine.idle, engine.doing) == (0, {})


def test_task_whose_worker_dies_is_sent_again_and_given_up_after_some_deaths(tmp_path):
    make = functools.partial(DyingEvaluator, tmp_path)
    with started(LocalEngine(), make, TWO) as engine:
        results = {r.task.key: r for r in run_tasks(engine, [training(9), training(1)])}
        assert engine.idle == 2
    once, always = results["training 1"], results["training 9"]
    assert (once.error, once.value) == ("", quality_of(SPEC))
    assert (always.died, always.error) == (True, "worker died: killed by SIGKILL")
    assert (tmp_path / "9").read_text() == "x" * (1 + MAX_RETRIES)


def test_worker_that_dies_while_idle_is_replaced_and_no_task_is_lost():
    with started(
        LocalEngine(), FormulaEvaluator, Placement(num_workers=1, num_per_host=1)
    ) as engine:
        (first,) = run_tasks(engine, [training(1)])
        (worker,) = engine._workers
        os.kill(worker.process.pid, 9)
        worker.process.join()
        (second,) = run_tasks(engine, [training(2)])
    assert first.value == second.value == quality_of(SPEC)


@pytest.fixture
def places(tmp_path):
    """Folders for temporary files and for locks."""
    made = tmp_path / "temporary", tmp_path / "locks"
    for place in made:
        place.mkdir()
    return made


def start_training(engine):
    """Start a training that never ends; return its process once it holds the device."""
    engine.submit(training(1))
    while engine.doing != {"training 1": "holding"}:
        assert list(engine.results(60.0)) == []
    (worker,) = engine._workers
    return worker.process


def test_worker_is_asked_to_end_and_takes_what_it_holds_along(places):
    make = functools.partial(OwningEvaluator, places)
    with started(LocalEngine(), make, ONE) as engine:
        process = start_training(engine)
        assert len(list(places[0].iterdir())) == 1
        assert users("cpu", folder=places[1]) == {process.pid}
    assert process.exitcode == 128 + signal.SIGTERM
    assert list(places[0].iterdir()) == []
    assert list((places[1] / "cpu.users").iterdir()) == []
    with exclusive("cpu", folder=places[1]):
        pass


def test_worker_that_does_not_end_is_killed_and_swept_up_after(places, monkeypatch):
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.2)
    make = functools.partial(OwningEvaluator, places, stubborn=True)
    with started(LocalEngine(), make, ONE) as engine:
        process = start_training(engine)
    assert process.exitcode == -signal.SIGKILL
    sweep_folders(places[0])
    assert list(places[0].iterdir()) == []


def test_workers_end_also_where_ctrl_c_interrupts_the_waiting(places, monkeypatch):
    make = functools.partial(OwningEvaluator, places, stubborn=True)
    engine = LocalEngine()
    engine.start(make, ONE)
    process = start_training(engine)
    join = type(process).join

    def interrupt_once(self, timeout=None):
        monkeypatch.setattr(type(process), "join", join)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(process), "join", interrupt_once)
    with pytest.raises(KeyboardInterrupt):
        engine.stop()
    assert process.exitcode == -signal.SIGKILL
    assert engine.idle == 0
    engine.stop()


def test_long_wait_for_a_device_is_what_a_worker_says(places, monkeypatch):
    monkeypatch.setattr(lock_waits, "PATIENCE_SECONDS", 0.0)
    told, holder = [], threading.Event()

    class Waiting(FormulaEvaluator):
        def train(self, spec, seed, reference_db, say):
            with exclusive("cpu", folder=places[1]):
                return seed

    def release(words):
        told.append(words)
        holder.set()

    with exclusive("cpu", folder=places[1]):
        waiter = threading.Thread(target=run_task, args=(Waiting(), training(1), release))
        waiter.start()
        assert holder.wait(60)
    waiter.join()
    assert told[0].startswith("waiting for device cpu, held by ")


def test_retries_count_each_task_by_itself():
    retries = Retries()
    dead = [base.Result(task=training(seed), died=True) for seed in (1, 2)]
    assert [retries.may_retry(result) for result in dead * 3] == [True] * 4 + [False] * 2


class Raising(FormulaEvaluator):
    """Raises at each training of seed 9, and at the first one of seed 8; says in whose process."""

    def __init__(self, folder, error, *, device=None):
        super().__init__()
        self.folder, self.error = folder, error

    def train(self, spec, seed, reference_db, say):
        with (self.folder / f"{seed}").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if seed == 9 or (seed == 8 and (self.folder / "8").read_text().count("\n") == 1):
            raise self.error
        return super().train(spec, seed, reference_db, say)


@pytest.mark.parametrize("kind", [SimulatedEngine, SameProcessEngine])
@pytest.mark.parametrize(
    ("error", "fault", "tries"),
    [
        (OSError(28, "No space left on device"), "machine", 1 + MAX_RETRIES),
        (RuntimeError("CUDA error: device-side assert triggered"), "machine", 1 + MAX_RETRIES),
        (ArchitectureError("it cannot be built"), "architecture", 1),
        (RuntimeError("CUDA error: out of memory"), "memory", 1),
    ],
)
def test_task_is_sent_again_after_a_fault_that_is_not_its_networks(
    tmp_path, kind, error, fault, tries
):
    engine, one = kind(), Placement(num_workers=1, num_per_host=1)
    with started(engine, functools.partial(Raising, tmp_path, error), one):
        always, fine = run_tasks(engine, [training(9), training(1)])
    assert (always.error, always.fault) == (f"{type(error).__name__}: {error}", fault)
    assert always.is_lost == (fault == "machine")
    assert (fine.error, fine.value) == ("", quality_of(SPEC))
    assert (tmp_path / "9").read_text().count("\n") == tries


def test_worker_that_met_a_fault_of_the_machine_is_replaced(tmp_path):
    make = functools.partial(Raising, tmp_path, RuntimeError("CUDA error: illegal address"))
    with started(LocalEngine(), make, Placement(num_workers=1, num_per_host=1)) as engine:
        (result,) = run_tasks(engine, [training(8)])
    assert result.value == quality_of(SPEC)
    assert len(set((tmp_path / "8").read_text().split())) == 2


def test_task_that_ran_out_of_memory_beside_another_is_sent_again_alone(tmp_path):
    """The other one waits for it, and a third one for both."""
    engine = SimulatedEngine()
    with started(engine, functools.partial(Raising, tmp_path, MemoryError()), TWO):
        dispatcher = Dispatcher(engine)
        dispatcher.submit(training(8))
        dispatcher.submit(training(1))
        running = []
        while dispatcher.is_busy:
            results = list(dispatcher.results(0.0))
            running.append(({result.task.key for result in results}, dispatcher.takes_more))
    assert running == [
        (set(), False),
        ({"training 1"}, False),
        ({"training 8"}, True),
    ]
    assert (tmp_path / "8").read_text().count("\n") == 2


class Unmakeable(FormulaEvaluator):
    """An evaluator that cannot be made so often as a file has bytes."""

    def __init__(self, path, *, device=None):
        super().__init__()
        left = path.read_text()
        path.write_text(left[1:])
        if left:
            raise FileNotFoundError(2, "No such file", "images")


@pytest.mark.parametrize(
    ("kind", "faults"),
    [(kind, 1) for kind in ENGINES] + [(SimulatedEngine, 99), (SameProcessEngine, 99)],
)
def test_evaluator_that_cannot_be_made_hangs_no_engine(tmp_path, kind, faults):
    path = tmp_path / "faults"
    path.write_text("x" * faults)
    engine = kind()
    with started(engine, functools.partial(Unmakeable, path), engine.place_workers(1, "cpu")):
        (result,) = run_tasks(engine, [training(1)])
    if faults == 1:
        assert result.value == quality_of(SPEC)
    else:
        assert result.is_lost
        assert result.error == "FileNotFoundError: [Errno 2] No such file: 'images'"


@pytest.mark.parametrize(("wanted", "device", "count"), [(3, "cuda", 3), (None, "cuda", 1)])
def test_local_engine_places_one_worker_on_a_gpu_unless_more_are_wanted(wanted, device, count):
    assert LocalEngine().place_workers(wanted, device) == Placement(
        num_workers=count, num_per_host=count
    )


def test_fewer_than_one_worker_is_refused():
    with pytest.raises(
        ValueError, match=r"^workers must be at least 1, got 0; null takes one a core"
    ):
        LocalEngine().place_workers(0, "cpu")


def test_simulated_time_refuses_an_evaluator_without_seconds():
    class Timeless(FormulaEvaluator):
        def __init__(self, *, device=None):
            pass

    with pytest.raises(TypeError, match=r"^Timeless has no `seconds`"):
        SimulatedEngine().start(Timeless, TWO)


@pytest.mark.parametrize("module", [backends, base, faults, local, simulated, tasks, table])
def test_examples_of_docstrings_run(module):
    outcome = doctest.testmod(module)
    assert outcome.failed == 0
    assert outcome.attempted > 0
