"""What the controller asks for, who answers, and what an answer depends on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nas.analysis.ladder import LadderRun
from nas.data.sets import ImageSet
from nas.measure.latency.config import LatencyConfig
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.score import Challenge
from nas.search.screening import Screen
from nas.train.parent import ParentFile
from nas.train.proxy import ProxyConfig
from search_spaces.spec import ArchSpec

Tell = Callable[[str], None]  # takes a few words on what is being done


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A trial, and how far it is to be trained.

    Attributes:
        until: training steps.
        inherits: number of the row that it starts from, whose architecture is `parent`; None: it does not.
        reference_db: PSNR of the reference at the end: a whole training is called stuck where it learned no
            more than a linear filter and the reference did. None: no training is.
    """

    number: int
    spec: ArchSpec
    until: int
    reference_db: float | None
    inherits: int | None = None
    parent: ArchSpec | None = None


class Evaluator(Protocol):
    """What the controller needs done; every call may take minutes."""

    def baseline(self, tell: Tell) -> tuple[Cost, Latency]: ...
    def measure(self, spec: ArchSpec, tell: Tell) -> tuple[Cost, Latency, float]: ...
    def ladder_run(self, rung: str, seed: int, tell: Tell) -> LadderRun: ...
    def train(self, spec: ArchSpec, seed: int, reference_db: float | None, tell: Tell) -> Quality: ...
    def trial(self, task: Task, screen: Screen | None, tell: Tell) -> TrialRecord: ...
    def advance(self, task: Task, record: TrialRecord, tell: Tell) -> TrialRecord: ...
    def confirm(self, task: Task, record: TrialRecord, tell: Tell) -> TrialRecord: ...
    def read_test(self, spec: ArchSpec, tell: Tell) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSettings:
    """Everything that an evaluation depends on; sent to worker processes.

    Attributes:
        fidelities: steps at which a training is read, its end the last.
        sets: the opened roles: train, val and, where there is one, test.
        parent: what candidates start from; None: fresh weights.
        time_cap: how many times the baseline's a training step may take; None: any time.
        replay: latencies by arch_id that stand in for measuring, as a repeated search needs them.
    """

    run: Path
    sets: Mapping[str, ImageSet]
    memory_mib: float
    cache: str | None
    scale: int
    challenge: Challenge | None
    proxy: ProxyConfig
    fidelities: tuple[int, ...]
    latency: LatencyConfig
    limits: Mapping[str, float]
    device: str
    seed: int
    baseline: ArchSpec
    replay: Mapping[str, Latency]
    parent: ParentFile | None = None
    time_cap: float | None = None
