"""What a search knows of one architecture: costs, latency, quality, and how its trial ended."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from nas.system.schema.schema_rules import Amount, Count, Decibels, PositiveAmount, PositiveCount
from nas.system.schema.stored_schema import parse_as
from search_spaces.spec import ArchSpec

State = Literal["complete", "failed", "rejected"]
LEAST_CI = 1e-6  # of a ratio; narrower readings count alike, so that none counts infinitely
SET_IMAGES = 100  # in each of the challenge's two sets


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """An objective: a column of the run's table, its unit, and which way is better.

    Example:
        >>> Goal(name="runtime_ratio", unit="1", direction="minimize").unit
        '1'
    """

    name: str
    unit: str
    direction: Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What is exact without training: counts of the inference form.

    Attributes:
        flops: multiply-accumulates at 1x3x256x256.
        activations: elements that its convolutions put out there.
        num_conv: convolutions.
        memory_mib: peak of live tensors (input, weights and features) in that forward, float32.
    """

    params: PositiveCount
    flops: PositiveCount
    activations: Count
    num_conv: Count
    memory_mib: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A paired reading: the candidate's runtime over the baseline's, in one process and mode.

    Attributes:
        runtime_ms, baseline_ms: mean over the sizes of the median of each.
        ratio, ci: median of the paired ratios, and its bootstrap 95 % half-width.
        sizes: "64x64,339x510", of the LR image, height first.
        rounds, rejected: pairs that were kept, and pairs that were disturbed.
        first_ms, baseline_first_ms: the first forward of each, which the other figures leave out.
        host_ms, baseline_host_ms: time in which the host issues a forward to a GPU, where
            runtime_ms is the time between the GPU's events; None on a CPU.
        flags: why the reading is not to be relied on, words with commas between them.
            disturbed: more than a fifth of the rounds were rejected (on a CPU only where the
            interval is too wide as well). drifted: fixed work took another time at the end.
            contaminated: another process computed on the GPU (`details["neighbours"]` is "unknown"
            where that cannot be seen). host_bound: to issue a forward took the host 0.8 of its
            time or more, so that the ratio comes near to one of launches. no_graph: the mode
            replays a CUDA graph, and none could be captured (`details["why_no_graph"]`).
        operators: the fused ones that ran in the candidate's forward.
        details: spread, warm-up, number of layers in each precision (of modes with a runner) and
            the state of the device before and after, as JSON takes it.
    """

    runtime_ms: PositiveAmount
    baseline_ms: PositiveAmount
    ratio: PositiveAmount
    ci: Amount
    mode: str
    device: str
    dtype: str
    sizes: str
    threads: Count
    rounds: Count
    rejected: Count
    first_ms: Amount | None = None
    baseline_first_ms: Amount | None = None
    host_ms: Amount | None = None
    baseline_host_ms: Amount | None = None
    flags: str = ""
    operators: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def conditions(self) -> dict[str, str | int]:
        """What it was read under; ratios read under others are not comparable with it."""
        return {
            "device": self.device,
            "mode": self.mode,
            "dtype": self.dtype,
            "sizes": self.sizes,
            "threads": self.threads,
        }

    def pooled(self, other: "Latency") -> "Latency":
        """Return the mean with a second reading, each weighted by its precision.

        Raises:
            ValueError: the two were read under different conditions.
        """
        if self.conditions != other.conditions:
            raise ValueError(
                f"latencies of {self.conditions} and {other.conditions} cannot be pooled"
            )

        # Weights are inverse variances; the factor between ci and deviation cancels.
        ours, theirs = (1 / max(reading.ci, LEAST_CI) ** 2 for reading in (self, other))
        share = ours / (ours + theirs)

        def mean(a: float, b: float) -> float:
            return share * a + (1 - share) * b

        return replace(
            self,
            runtime_ms=mean(self.runtime_ms, other.runtime_ms),
            baseline_ms=mean(self.baseline_ms, other.baseline_ms),
            ratio=mean(self.ratio, other.ratio),
            ci=(ours + theirs) ** -0.5,
            rounds=self.rounds + other.rounds,
            rejected=self.rejected + other.rejected,
        )

    @property
    def ratio_with_first(self) -> float | None:
        """The ratio over a set of the challenge, its first image counted as the challenge does.

        None where the first forwards were not timed.
        """
        if self.first_ms is None or self.baseline_first_ms is None:
            return None
        num_warm = SET_IMAGES - 1
        ours = num_warm * self.ratio * self.baseline_ms + self.first_ms
        return ours / (num_warm * self.baseline_ms + self.baseline_first_ms)


Curve = tuple[tuple[Count, Decibels], ...]  # training steps and PSNR, steps rising


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """PSNR of the proxy on the val set, by the challenge's protocol.

    Attributes:
        base_db: PSNR of the fixed base alone.
        fidelity: training steps.
        restarts: trainings that got stuck or diverged before the one that counts.
        curve: what the training reached on its way, where it was read; with rungs, the last
            reading is psnr_db itself.
        seeds: PSNR of each training, where there were several; psnr_db is their mean.
    """

    psnr_db: Decibels
    base_db: Decibels
    fidelity: Count
    train_seconds: Amount
    restarts: Count
    curve: Curve = ()
    seeds: tuple[Decibels, ...] = ()

    @property
    def num_seeds(self) -> int:
        """Trainings of which `psnr_db` is the mean."""
        return max(1, len(self.seeds))

    def with_seed(self, other: "Quality") -> "Quality":
        """Return the mean over seeds with one more training; seconds are summed."""
        # A training that was alone has no list of seeds yet.
        seeds = (*(self.seeds or (self.psnr_db,)), other.psnr_db)
        seconds = self.train_seconds + other.train_seconds
        return replace(self, psnr_db=statistics.fmean(seeds), seeds=seeds, train_seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial as the journal keeps it; what was not measured is None.

    Attributes:
        error: why the trial failed or was rejected.
        seconds: what it took beside its training (`quality` holds that): measure, for its latency
            reading; wait, for the device; control, for choosing it.
        inherits: number of the trial whose weights its training started from.
    Example:
        `TrialRecord.from_json(record.to_json()) == record`
    """

    number: Count
    state: State
    spec: ArchSpec
    cost: Cost | None = None
    latency: Latency | None = None
    quality: Quality | None = None
    error: str = ""
    seconds: Mapping[str, Amount] = field(default_factory=dict)
    inherits: Count | None = None

    def plus(self, **seconds: float) -> "TrialRecord":
        """Return the record with so many seconds more, by what they were spent on."""
        # Only what was spent now is added; other times stay.
        sums = {name: self.seconds.get(name, 0.0) + more for name, more in seconds.items()}
        return replace(self, seconds={**self.seconds, **sums})

    def to_json(self) -> str:
        """Return one line of JSON.

        Raises:
            ValueError: a number is NaN or infinite.
        """
        # The order of the keys is that of every journal: lines can be compared as text.
        data = {
            "number": self.number,
            "state": self.state,
            "spec": self.spec.to_dict(),
            "cost": asdict(self.cost) if self.cost else None,
            "latency": asdict(self.latency) if self.latency else None,
            "quality": asdict(self.quality) if self.quality else None,
            "error": self.error,
            "seconds": dict(self.seconds),
            "inherits": self.inherits,
        }
        return json.dumps(data, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "TrialRecord":
        """Return the record that `to_json` wrote; records of earlier versions lack some fields.

        Raises:
            SchemaError: the text is no such record.
        """
        return parse_as(cls, text)
