"""Who evaluates a search's candidates: what a backend is handed, and what it offers."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from nas.data.config import DataConfig
from nas.measure.latency.config import LatencyConfig
from nas.record import Latency
from nas.score import Challenge
from nas.search.engines.base import Engine, MakeEvaluator, Placement
from nas.search.fidelity.config import FidelityConfig
from nas.search.longer.base import LongerLadder
from nas.train.parent import ParentFile
from nas.train.proxy import ProxyConfig
from search_spaces.chooser import Space
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingParts:
    """How candidates are trained.

    Attributes:
        parent: network whose weights all candidates start from; None: fresh weights.
        time_cap: how many times the baseline's a training step may take; None: any time.
    """

    data: DataConfig
    proxy: ProxyConfig
    fidelity: FidelityConfig
    parent: ParentFile | None = None
    time_cap: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingParts:
    """How latencies are read; those in `replay`, by arch_id, are taken instead of measuring."""

    latency: LatencyConfig
    replay: Mapping[str, Latency] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What candidates are judged by.

    Attributes:
        limits: upper limits by name, over which a candidate is rejected.
        ladder_seeds: trainings of each size of the ladder.
        ladder_long: whether its sizes are trained longer, too.
    """

    challenge: Challenge
    limits: Mapping[str, float]
    ladder_seeds: int
    ladder_long: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendParts:
    """All that a search knows before it evaluates anything; a backend takes what it needs.

    Attributes:
        run: the run directory; it need not be there yet.
        device: on which workers evaluate, where their engine gives them none of their own.
        table: file of `nas tabulate`, or the name of one that ships.
    """

    run: Path
    device: torch.device
    placement: Placement
    seed: int
    scale: int
    space: Space
    table: str
    training: TrainingParts
    reading: ReadingParts
    rules: Rules


def _share_nothing() -> AbstractContextManager[Sequence[str]]:
    return contextlib.nullcontext(())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBackend:
    """What a search is told by a backend, and what makes its evaluators.

    Attributes:
        baseline: row 0, which every candidate is compared with.
        ladder_sizes: channels x blocks of the ladder, smallest first; the last is the baseline.
        fidelities: training steps at which PSNR is read, rising; the last is a training's end.
        make_evaluator: is sent to workers.
        fingerprints: of all that results depend on, by name; a run goes on with equal ones alone.
        environment: what a run directory keeps about where it was made.
        notices: what the user is told at the start, a line each.
        conditions: of the latencies that will be read; empty: any, as in a replay.
        lr_origins: how the LR images of each role were made; stands beside every PSNR.
        has_test: whether `Evaluator.read_test` can be called.
        longer: the ladder's sizes, trained longer; None: that is not done, and `why_no_longer` says
            why.
        lacks: says why an architecture has no results here; empty: it has.
        resources: what all workers share while an engine runs; entered before it starts, which
            gives lines that the user is told, and left after it ended.
        engine: the only one that the evaluators can run on; None: any.
        clock: gives the seconds in which the engine's time passes.
    """

    baseline: ArchSpec
    ladder_sizes: tuple[str, ...]
    fidelities: tuple[int, ...]
    make_evaluator: MakeEvaluator
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    notices: Sequence[str] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    lr_origins: Mapping[str, str] = field(default_factory=dict)
    has_test: bool = False
    longer: LongerLadder | None = None
    why_no_longer: str = "its evaluator trains no longer"
    lacks: Callable[[ArchSpec], str] = lambda spec: ""  # trainings exist for whatever is asked
    resources: AbstractContextManager[Sequence[str]] = field(default_factory=_share_nothing)
    engine: Engine | None = None
    clock: Callable[[], float] = time.monotonic


class Backend(Protocol):
    """Says who evaluates; conf/evaluator/*.yaml builds one, and users hand in their own.

    A backend holds its own keys alone. All that it shares with the rest of a search comes in
    `open`, which checks it before a run directory is made.

    Example: a search whose PSNR follows from a formula, on any engine.
        >>> from search_spaces.published import published
        >>> class FormulaBackend:
        ...     why_not_inherit = "a formula, which has no weights"
        ...     def open(self, parts):
        ...         return OpenedBackend(
        ...             baseline=published("span"),
        ...             ladder_sizes=("12x1", "16x3", "20x4", "28x6"),
        ...             fidelities=(parts.training.proxy.steps,),
        ...             make_evaluator=FormulaEvaluator,
        ...         )
        ...     def lengthen(self, parts, *, factor, rate):
        ...         return parts
        >>> FormulaBackend().why_not_inherit
        'a formula, which has no weights'
    """

    @property
    def why_not_inherit(self) -> str:
        """Say why candidates cannot start from weights of the run; empty: they can."""
        ...

    def open(self, parts: BackendParts) -> OpenedBackend:
        """Open data and tables and check that they fit the search; writes nothing.

        Raises:
            ValueError: something is missing or does not fit; the message starts with its key.
        """
        ...

    def lengthen(self, parts: BackendParts, *, factor: int, rate: float) -> BackendParts:
        """Return parts with longer trainings, by which `nas trust` checks a front's order.

        Args:
            factor: times the steps, where any number can be had.
            rate: times the learning rates.
        Raises:
            ValueError: there are no longer trainings.
        """
        ...
