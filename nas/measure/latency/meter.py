"""Latency as a paired ratio: a candidate's runtime over the baseline's, alternately in one process."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nas.measure.device import device_id, device_name
from nas.measure.latency.canary import MAX_DRIFT, Canary, drift
from nas.measure.latency.conditions import reading_conditions
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.modes import MODES, ONNXRUNTIME, Make, resolve
from nas.measure.latency.protocol import read
from nas.measure.latency.rounds import Block, Reading
from nas.measure.latency.sizes import Size
from nas.measure.latency.stopwatch import Stopwatch, stopwatch_of
from nas.measure.latency.subject import Subject, open_subject
from nas.measure.lock import exclusive, users
from nas.measure.surroundings import UNKNOWN, neighbours, surroundings
from nas.record import Latency
from search_spaces.spec import ArchSpec


class LatencyMeter:
    """Reads latencies against one baseline on one device, alone on it.

    Args:
        device: the one in use; `mode` cpu reads on the CPU all the same.
        stopwatch: runs a forward so many times and says how long each took; None: the device's own.
    Raises:
        ValueError: the device does not have the mode or the backend, or the folder of sizes is not there.
    """

    def __init__(
        self,
        config: LatencyConfig,
        *,
        baseline: ArchSpec,
        device: torch.device,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.config = config
        self.baseline = baseline
        self.mode, self.device = resolve(config.mode, device)
        self._mode = MODES[self.mode]
        if config.backend == "onnxruntime":
            self._mode = ONNXRUNTIME
            if self.device.type != "cpu":
                raise ValueError(
                    f"latency.backend=onnxruntime is read on the CPU, the device is {self.device}; "
                    "give latency.mode=cpu too"
                )
        tf32 = self.device.type == "cuda" and config.tf32
        self.dtype = self._mode.dtype or ("float32-tf32" if tf32 else "float32")
        self.waited = 0.0  # seconds, for the device, of all readings
        self.sizes = config.sizes_on(self.device)
        self.stopwatch = stopwatch or stopwatch_of(self.device, threads=config.threads)

    @property
    def conditions(self) -> dict[str, str | int]:
        """What every reading of this meter says of its conditions (`Latency.conditions`)."""
        return {
            "device": device_name(self.device),
            "mode": self.mode,
            "dtype": self.dtype,
            "sizes": listed(self.sizes),
            "threads": self.config.threads,
        }

    def measure(self, spec: ArchSpec, *, seed: int) -> Latency:
        """Read a network's latency; waits for the device.

        Args:
            seed: of the random weights, the image and the bootstrap.
        Raises:
            ValueError: its scale is not the baseline's.
            RuntimeError: its output is not finite or of the wrong shape, or it does not fit in memory.
        """
        (found,) = self.measure_all([spec], seed=seed)
        if isinstance(found, RuntimeError):
            raise found
        return found

    def measure_all(self, specs: Sequence[ArchSpec], *, seed: int) -> list[Latency | RuntimeError]:
        """Read networks together, all of them in every round; the device is held a minute at a time at most.

        A reading on a GPU that is disturbed or drifted is void: it is taken once more, and what is void
        again is kept with its flags, for a trial must not vanish. On a CPU there is no second reading: other
        processes are the rule there, and rounds go on anyway until the interval is narrow or time is up.

        Returns:
            A latency each, or why there is none.
        Raises:
            ValueError: a scale is not the baseline's.
            RuntimeError: the baseline itself cannot be read.
        """
        for spec in specs:
            if spec.scale != self.baseline.scale:
                raise ValueError(
                    f"scale is {spec.scale}, that of the latency's baseline {self.baseline.scale}"
                )
        found = self._attempt(specs, seed, attempt=1)
        again = [place for place, one in enumerate(found) if self._is_void(one)]
        if again:
            second = self._attempt([specs[place] for place in again], seed, attempt=2)
            for place, one in zip(again, second, strict=True):
                found[place] = one
        return found

    def baseline_reading(self, *, seed: int = 0) -> Latency:
        """The baseline's own latency: its ratio is 1 by definition."""
        reading = self.measure(self.baseline, seed=seed)
        return replace(
            reading,
            runtime_ms=reading.baseline_ms,
            ratio=1.0,
            ci=0.0,
            first_ms=reading.baseline_first_ms,
            host_ms=reading.baseline_host_ms,
            operators="",
        )

    def _is_void(self, found: Latency | RuntimeError) -> bool:
        void = {"disturbed", "drifted"}
        return (
            self.device.type == "cuda" and isinstance(found, Latency) and bool(void & flags(found))
        )

    def _attempt(
        self, specs: Sequence[ArchSpec], seed: int, *, attempt: int
    ) -> list[Latency | RuntimeError]:
        config, name = self.config, device_id(self.device)
        with (
            exclusive(name) as hold,
            reading_conditions(self.device, threads=config.threads, tf32=config.tf32),
        ):
            before = surroundings(self.device)
            baseline = self._open(self.baseline, self._mode.baseline, seed)
            opened = []
            for spec in specs:
                hold.pause()
                opened.append(self._try(spec, seed))
            strangers = neighbours(
                self.device, users(name)
            )  # by now this process is on the GPU itself
            subjects = [baseline, *(one for one in opened if isinstance(one, Subject))]

            def timer(subject: int, place: int, repeats: int) -> Block:
                return subjects[subject].time(place, repeats)

            with torch.inference_mode():
                canary = Canary(self.device)
                start, clock = canary.read(self.stopwatch), _sm_mhz(self.device)
                readings = read(
                    timer,
                    len(subjects) - 1,
                    [size.weight for size in self.sizes],
                    config.limits(),
                    np.random.default_rng(seed),
                    hold.pause,
                )
                moved = drift(start, canary.read(self.stopwatch))
            details = {
                "attempt": attempt,
                "drift": moved,
                "sm_mhz": [clock, _sm_mhz(self.device)],
                "neighbours": strangers or neighbours(self.device, users(name)),
                "together": len(specs),
                "warmup_seconds": config.warmup_seconds,
                "before": before,
                "after": surroundings(self.device),
            }
        self.waited += hold.waited
        left = iter(readings)
        return [
            self._latency(next(left), one, baseline, details) if isinstance(one, Subject) else one
            for one in opened
        ]

    def _open(self, spec: ArchSpec, make: Make, seed: int) -> Subject:
        config = self.config
        return open_subject(
            spec,
            make,
            self.sizes,
            self.device,
            self.stopwatch,
            threads=config.threads,
            tf32=config.tf32,
            seed=seed,
        )

    def _try(self, spec: ArchSpec, seed: int) -> Subject | RuntimeError:
        try:
            return self._open(spec, self._mode.candidate, seed)
        except RuntimeError as error:
            return error.with_traceback(None)  # its frames hold the network

    def _latency(
        self,
        reading: Reading | RuntimeError,
        candidate: Subject,
        baseline: Subject,
        details: dict[str, Any],
    ) -> Latency | RuntimeError:
        if isinstance(reading, RuntimeError):
            return reading
        return Latency(
            runtime_ms=reading.candidate_ms,
            baseline_ms=reading.baseline_ms,
            ratio=reading.ratio,
            ci=reading.ci,
            mode=self.mode,
            device=device_name(self.device),
            dtype=self.dtype,
            sizes=listed(self.sizes),
            threads=self.config.threads,
            rounds=reading.rounds,
            rejected=reading.rejected,
            first_ms=candidate.first_ms,
            baseline_first_ms=baseline.first_ms,
            host_ms=reading.candidate_host_ms,
            baseline_host_ms=reading.baseline_host_ms,
            flags=",".join(
                faults(
                    reading,
                    drifted=details["drift"] > MAX_DRIFT[self.device.type],
                    contaminated=details["neighbours"] not in ([], UNKNOWN),
                    lacks_graph=bool(candidate.why_no_graph or baseline.why_no_graph),
                    on_gpu=self.device.type == "cuda",
                    target_ci=self.config.target_ci,
                )
            ),
            operators=candidate.operators,
            details={
                **details,
                "layers": candidate.layers,
                "why_no_graph": candidate.why_no_graph or baseline.why_no_graph,
                "idle": reading.idle,
                "ratio_p10": reading.ratio_low,
                "ratio_p90": reading.ratio_high,
            },
        )


def _sm_mhz(device: torch.device) -> float | None:
    """The clock of a GPU that has just worked; None: it cannot be known, or there is none."""
    found = surroundings(device).get("sm_mhz")
    return found if isinstance(found, float) else None


def faults(
    reading: Reading,
    *,
    drifted: bool,
    contaminated: bool,
    on_gpu: bool,
    target_ci: float,
    lacks_graph: bool = False,
) -> list[str]:
    """Return why a reading is not to be relied on, a word each; empty: it is.

    On a CPU that others use too, rejected rounds are the rule: more than a fifth in 9 of 12 readings on a
    quiet machine, whose ratios agreed within 0.7 %. There a reading is disturbed only if its interval is
    wider than it should be as well. Where the host decides a runtime on a GPU (`HOST_BOUND`), ratios between
    networks come near to a count of their launches.
    """
    is_wide = reading.ci > target_ci * reading.ratio
    said = {
        "disturbed": reading.is_disturbed and (on_gpu or is_wide),
        "drifted": drifted,
        "contaminated": contaminated,
        "host_bound": reading.is_host_bound,
        "no_graph": lacks_graph,
    }
    return [word for word, holds in said.items() if holds]


def flags(latency: Latency) -> set[str]:
    """The words of a reading's flags."""
    return set(latency.flags.split(",")) - {""}


def listed(sizes: Sequence[Size]) -> str:
    """Sizes as a record holds them: "64x64,339x510", height first."""
    return ",".join(map(str, sizes))
