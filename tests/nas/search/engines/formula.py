"""What a user of the Python door would write: an evaluator by a formula, a backend, an engine."""

import dataclasses
import os
import signal
import time

from nas.analysis.ladder import RUNGS, LadderRun, rung_spec
from nas.measure.lock import exclusive
from nas.search.backends.base import OpenedBackend
from nas.search.engines.base import Placement
from nas.search.engines.tasks import run_task
from nas.system.faults import ArchitectureError
from nas.system.files.owned_folder import OwnedFolder
from search_spaces.published import published
from search_spaces.spec import with_scale
from tests.nas.search.studies import cost_of, latency_of, quality_of, record_of


class FormulaEvaluator:
    """Answers by the formulas of `tests.nas.search.studies`; `seconds` is for simulated time."""

    def __init__(self, *, device=None):
        self.seconds = 0.0

    def baseline(self, say):
        spec = published("span")
        return cost_of(spec), latency_of(spec)

    def measure(self, spec, say):
        say("measuring")
        self.seconds = cost_of(spec).params / 1e4
        return cost_of(spec), latency_of(spec), self.seconds

    def ladder_run(self, rung, seed, say):
        return LadderRun.of(rung, seed, quality_of(rung_spec(rung, 4)))

    def train(self, spec, seed, reference_db, say):
        if seed < 0:
            raise ArchitectureError(f"seed must be at least 0, got {seed}")
        return quality_of(spec)

    def trial(self, request, screen, say):
        return record_of(request)

    def advance(self, request, record, say):
        return dataclasses.replace(record, quality=quality_of(request.spec))

    def confirm(self, request, record, say):
        return record

    def read_test(self, spec, say):
        return quality_of(spec).psnr_db


class DyingEvaluator(FormulaEvaluator):
    """Kills its worker: at each training of seed 9, and once at each other that leaves no mark yet."""

    def __init__(self, folder, *, device=None):
        super().__init__()
        self.folder = folder

    def train(self, spec, seed, reference_db, say):
        mark = self.folder / str(seed)
        if seed == 9 or not mark.exists():
            with mark.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().train(spec, seed, reference_db, say)


class FormulaBackend:
    why_not_inherit = "a formula, which has no weights"

    def open(self, parts):
        return OpenedBackend(
            baseline=with_scale(published("span"), parts.scale),
            ladder_sizes=RUNGS,
            fidelities=(parts.training.proxy.steps,),
            make_evaluator=FormulaEvaluator,
        )

    def lengthen(self, parts, *, factor, rate):
        return parts


class SameProcessEngine:
    """One worker, which is this very process."""

    def __init__(self):
        self.num_starts = 0
        self._evaluator = None
        self._tasks = []

    def place_workers(self, wanted, device_type):
        return Placement(num_workers=1, num_per_host=1)

    def start(self, make_evaluator, placement):
        self.num_starts += 1
        self._evaluator = make_evaluator()

    def stop(self):
        self._evaluator = None
        self._tasks.clear()

    @property
    def idle(self):
        return 0 if self._tasks or self._evaluator is None else 1

    @property
    def doing(self):
        return {task.key: "waiting for its turn" for task in self._tasks}

    def submit(self, task):
        self._tasks.append(task)

    def results(self, timeout):
        while self._tasks:
            yield run_task(self._evaluator, self._tasks.pop(0), lambda words: None)


class OwningEvaluator(FormulaEvaluator):
    """Holds a temporary folder and a device while it trains, for ever; `stubborn` ones never end."""

    def __init__(self, places, *, stubborn=False, device=None):
        super().__init__()
        self.places = places  # for temporary folders, for lock files
        self.folder = OwnedFolder(places[0])
        if stubborn:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def train(self, spec, seed, reference_db, say):
        with exclusive("cpu", folder=self.places[1]):
            say("holding")
            while True:
                time.sleep(0.01)
