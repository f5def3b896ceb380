"""What a search knows of one architecture: its costs, its latency, its quality, and how its trial ended."""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from search_spaces.spec import ArchSpec

State = Literal["complete", "failed", "rejected"]
LEAST_CI = 1e-6  # of a ratio: below it readings count alike
SET_IMAGES = 100  # in each of the challenge's two sets


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """An objective: a column of the table, its unit, and which way is better."""

    name: str
    unit: str
    direction: Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What is exact without training: counts of the inference form.

    flops are multiply-accumulates at 1x3x256x256, activations the elements that its convolutions give
    there, memory_mib the peak of live tensors (input, weights and features) in that forward, float32.
    """

    params: int
    flops: int
    activations: int
    num_conv: int
    memory_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A paired reading: the candidate's runtime over the baseline's, in one process and mode.

    ratio is the median of the paired ratios and ci its bootstrap 95 % half-width; runtime_ms and
    baseline_ms are means over the sizes, of the medians; sizes reads "64x64,339x510" (LR, height first).
    rounds counts the pairs that were kept, rejected those that were disturbed. first_ms and
    baseline_first_ms are the first forward of each, which the other figures leave out. host_ms and
    baseline_host_ms are the time in which the host issues a forward to a GPU, runtime_ms being the time
    between its events; None on a CPU.

    flags says in words, by commas, why the reading is not to be relied on: disturbed (more than a fifth of
    the rounds were rejected; on a CPU only where the interval is too wide as well), drifted (fixed work took
    another time at the end), contaminated (another process computed on the GPU; `details["neighbours"]` is
    "unknown" where that cannot be seen), host_bound (the host issued a forward of one of them in 0.8 of its
    time or more: the ratio comes near to one of launches). operators names the fused ones that ran in the
    candidate's forward; details holds spread, warm-up, the number of layers in each precision (of modes with
    a runner) and the state of the device before and after, as JSON takes it.
    """

    runtime_ms: float
    baseline_ms: float
    ratio: float
    ci: float
    mode: str
    device: str
    dtype: str
    sizes: str
    threads: int
    rounds: int
    rejected: int
    first_ms: float | None = None
    baseline_first_ms: float | None = None
    host_ms: float | None = None
    baseline_host_ms: float | None = None
    flags: str = ""
    operators: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def conditions(self) -> dict[str, str | int]:
        """Under what it was read: ratios of other conditions are not comparable with it."""
        return {
            "device": self.device,
            "mode": self.mode,
            "dtype": self.dtype,
            "sizes": self.sizes,
            "threads": self.threads,
        }

    def pooled(self, other: "Latency") -> "Latency":
        """With a second reading under the same conditions: each counts by its precision.

        Raises:
            ValueError: the conditions are others.
        """
        if self.conditions != other.conditions:
            raise ValueError(f"latencies of {self.conditions} and {other.conditions} cannot be pooled")
        ours, theirs = (1 / max(one.ci, LEAST_CI) ** 2 for one in (self, other))
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
        """The ratio of a whole set of the challenge, its first image counted as the challenge does."""
        if self.first_ms is None or self.baseline_first_ms is None:
            return None
        warm = SET_IMAGES - 1
        ours = warm * self.ratio * self.baseline_ms + self.first_ms
        return ours / (warm * self.baseline_ms + self.baseline_first_ms)


Curve = tuple[tuple[int, float], ...]  # training steps and PSNR, steps rising


def curve_of(pairs: Iterable[Iterable[Any]]) -> Curve:
    """A curve as JSON gives it: lists of two."""
    return tuple((int(steps), float(psnr_db)) for steps, psnr_db in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """PSNR of the proxy on the val set, by the challenge's protocol.

    fidelity is the number of training steps; base_db the PSNR of the fixed base alone; restarts counts
    the runs that got stuck or diverged before the one that is reported. curve is what the training reached
    on its way, where it was read: with rungs, the last reading is psnr_db itself. seeds are the PSNRs of
    trainings with several seeds, of which psnr_db is the mean; empty: there was one.
    """

    psnr_db: float
    base_db: float
    fidelity: int
    train_seconds: float
    restarts: int
    curve: Curve = ()
    seeds: tuple[float, ...] = ()

    @property
    def num_seeds(self) -> int:
        """Trainings of which `psnr_db` is the mean."""
        return max(1, len(self.seeds))

    def with_seed(self, other: "Quality") -> "Quality":
        """With a training of another seed: the mean of all seeds, the seconds of all."""
        seeds = (*(self.seeds or (self.psnr_db,)), other.psnr_db)
        seconds = self.train_seconds + other.train_seconds
        return replace(self, psnr_db=statistics.fmean(seeds), seeds=seeds, train_seconds=seconds)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Quality":
        """From what `asdict` and JSON make of one."""
        curve, seeds = curve_of(data.get("curve", ())), tuple(data.get("seeds", ()))
        return cls(**{**data, "curve": curve, "seeds": seeds})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One row. What was not measured is None; `error` says why a trial failed or was rejected.

    inherits is the number of the row whose weights its training started from.

    seconds are what went by for it beside its training (of which `quality` tells): measure, its latency
    reading; wait, for the device; control, for choosing it.
    """

    number: int
    state: State
    spec: ArchSpec
    cost: Cost | None = None
    latency: Latency | None = None
    quality: Quality | None = None
    error: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    inherits: int | None = None

    def plus(self, **seconds: float) -> "TrialRecord":
        """The record with so many seconds more."""
        return replace(
            self, seconds={**self.seconds, **{k: v + self.seconds.get(k, 0.0) for k, v in seconds.items()}}
        )

    def to_json(self) -> str:
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
        data: Mapping[str, Any] = json.loads(text)
        quality = data["quality"]
        return cls(
            number=data["number"],
            state=data["state"],
            spec=ArchSpec.from_dict(data["spec"]),
            cost=Cost(**data["cost"]) if data["cost"] else None,
            latency=Latency(**data["latency"]) if data["latency"] else None,
            quality=Quality.from_dict(quality) if quality else None,
            error=data["error"],
            seconds=data.get("seconds", {}),
            inherits=data.get("inherits"),
        )
