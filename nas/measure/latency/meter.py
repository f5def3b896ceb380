"""Latency as a paired ratio: candidate and baseline run alternately in one process."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nas.measure.device import device_id, device_name
from nas.measure.latency.canary import MAX_DRIFT, Canary, drift
from nas.measure.latency.conditions import reading_conditions
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.flags import find_faults, split_flags
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

VOID_FLAGS = {"disturbed", "drifted"}  # on a GPU such a reading is taken once more


class LatencyMeter:
    """Reads latencies against one baseline on one device, alone on it.

    Args:
        config: how to read; its mode `cpu` reads on the CPU whatever the device.
        baseline: the network that ratios are relative to.
        device: the one in use.
        stopwatch: runs a forward so many times and says how long each took; None: the device's own.
    Attributes:
        waited: seconds spent waiting for the device, over all readings.
    Raises:
        ValueError: the device does not have the mode or the backend, or the folder of sizes is not
            there.

    Example:
        >>> from search_spaces import published
        >>> config = LatencyConfig(
        ...     mode="cpu", backend="torch", sizes=[(16, 16)], threads=1, tf32=False,
        ...     warmup_seconds=0.0, min_rounds=3, max_rounds=3, max_seconds=1.0, target_ci=0.01,
        ... )
        >>> meter = LatencyMeter(config, baseline=published("span"), device=torch.device("cpu"))
        >>> latency = meter.measure(published("spanv2"), seed=0)
        >>> latency.ratio > 0, latency.rounds + latency.rejected, latency.sizes
        (True, 3, '16x16')
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

        # A backend other than torch has a mode of its own: how its networks are made and called.
        self.mode, self.device = resolve(config.mode, device)
        self._mode = MODES[self.mode]
        if config.backend == "onnxruntime":
            self._mode = ONNXRUNTIME
            if self.device.type != "cpu":
                raise ValueError(
                    f"latency.backend=onnxruntime is read on the CPU, the device is {self.device}; "
                    "give latency.mode=cpu too"
                )

        # A precision that differs between two readings makes them incomparable, so it is recorded.
        tf32 = self.device.type == "cuda" and config.tf32
        self.dtype = self._mode.dtype or ("float32-tf32" if tf32 else "float32")
        self.waited = 0.0
        self.sizes = config.sizes_on(self.device)
        self.stopwatch = stopwatch or stopwatch_of(self.device, threads=config.threads)

    @property
    def conditions(self) -> dict[str, Any]:
        """The conditions that every reading of this meter records (`Latency.conditions`)."""
        return {
            "device": device_name(self.device),
            "mode": self.mode,
            "dtype": self.dtype,
            "sizes": join_sizes(self.sizes),
            "threads": self.config.threads,
        }

    def measure(self, spec: ArchSpec, *, seed: int) -> Latency:
        """Read a network's latency; waits for the device.

        Args:
            seed: of the random weights, the image and the bootstrap.
        Raises:
            ValueError: its scale is not the baseline's.
            RuntimeError: its output is not finite or of the wrong shape, or it does not fit in
                memory.
        """
        (outcome,) = self.measure_all([spec], seed=seed)
        if isinstance(outcome, RuntimeError):
            raise outcome
        return outcome

    def measure_all(self, specs: Sequence[ArchSpec], *, seed: int) -> list[Latency | RuntimeError]:
        """Read networks together, all of them in every round.

        The device is held for a minute at a time at most. A reading on a GPU that is disturbed or
        drifted is void: it is taken once more, and what is void again is kept with its flags, for a
        trial must not vanish. On a CPU there is no second reading: other processes are the rule
        there, and rounds go on anyway until the interval is narrow or time is up.

        Returns:
            For each network its latency, or why there is none.
        Raises:
            ValueError: a scale is not the baseline's.
            RuntimeError: the baseline itself cannot be read.
        """
        # At another scale both networks would compute different images.
        for spec in specs:
            if spec.scale != self.baseline.scale:
                raise ValueError(
                    f"scale is {spec.scale}, that of the latency's baseline {self.baseline.scale}"
                )

        outcomes = self._attempt_reading(specs, seed, attempt=1)
        void = [place for place, outcome in enumerate(outcomes) if self._is_void(outcome)]
        if void:
            # Only the void ones again, with the baseline beside them.
            second = self._attempt_reading([specs[place] for place in void], seed, attempt=2)
            for place, outcome in zip(void, second, strict=True):
                outcomes[place] = outcome

        return outcomes

    def baseline_reading(self, *, seed: int = 0) -> Latency:
        """Return the baseline's own latency: its ratio is 1 by definition."""
        # A whole reading, so that its time is as well known as any candidate's.
        reading = self.measure(self.baseline, seed=seed)

        # The baseline was its own candidate, in the candidates' form: those figures are dropped.
        return replace(
            reading,
            runtime_ms=reading.baseline_ms,
            ratio=1.0,
            ci=0.0,
            first_ms=reading.baseline_first_ms,
            host_ms=reading.baseline_host_ms,
            operators="",  # those are the candidate's
        )

    def _is_void(self, outcome: Latency | RuntimeError) -> bool:
        if self.device.type != "cuda" or isinstance(outcome, RuntimeError):
            return False
        return bool(VOID_FLAGS & split_flags(outcome))

    def _attempt_reading(
        self, specs: Sequence[ArchSpec], seed: int, *, attempt: int
    ) -> list[Latency | RuntimeError]:
        """Read networks once, alone on the device; `attempt` is kept in the readings' details."""
        config, name = self.config, device_id(self.device)
        with (
            exclusive(name) as hold,
            reading_conditions(self.device, threads=config.threads, tf32=config.tf32),
        ):
            # The device is this meter's alone from here; others wait at its lock.
            before = surroundings(self.device)
            baseline = self._open_subject(self.baseline, self._mode.baseline, seed)
            opened = []
            for spec in specs:
                hold.pause()  # to build many networks takes minutes
                opened.append(self._open_candidate(spec, seed))

            # Only now is this process on the GPU itself, without which its list means nothing.
            strangers = neighbours(self.device, users(name))
            subjects = [baseline, *(entry for entry in opened if isinstance(entry, Subject))]
            readings, details = self._read_subjects(subjects, seed, hold.pause)
            details |= {
                "attempt": attempt,
                "neighbours": strangers or neighbours(self.device, users(name)),
                "together": len(specs),
                "warmup_seconds": config.warmup_seconds,
                "before": before,
                "after": surroundings(self.device),
            }

        self.waited += hold.waited

        # Networks that could not be opened took no part in the rounds.
        remaining = iter(readings)
        return [
            self._make_latency(next(remaining), entry, baseline, details)
            if isinstance(entry, Subject)
            else entry
            for entry in opened
        ]

    def _read_subjects(
        self, subjects: Sequence[Subject], seed: int, pause: Callable[[], bool]
    ) -> tuple[list[Reading | RuntimeError], dict[str, Any]]:
        """Read candidates against the first subject, the baseline, between two looks at the canary.

        Returns:
            A reading or a failure for each candidate, and how drift and clock of the device moved.
        """

        def timer(subject: int, place: int, repeats: int) -> Block:
            return subjects[subject].time(place, repeats)

        # The canary works right before and after the rounds, under their conditions.
        with torch.inference_mode():
            canary = Canary(self.device)
            # The clock is read right after work: at rest a GPU shows its idle clock.
            start, clock = canary.read(self.stopwatch), _read_sm_mhz(self.device)
            readings = read(
                timer,
                len(subjects) - 1,
                [size.weight for size in self.sizes],
                self.config.limits(),
                np.random.default_rng(seed),
                pause,
            )
            change = drift(start, canary.read(self.stopwatch))

        return readings, {"drift": change, "sm_mhz": [clock, _read_sm_mhz(self.device)]}

    def _open_subject(self, spec: ArchSpec, make: Make, seed: int) -> Subject:
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

    def _open_candidate(self, spec: ArchSpec, seed: int) -> Subject | RuntimeError:
        try:
            return self._open_subject(spec, self._mode.candidate, seed)
        except RuntimeError as error:
            return error.with_traceback(None)  # its frames hold the network

    def _make_latency(
        self,
        reading: Reading | RuntimeError,
        candidate: Subject,
        baseline: Subject,
        details: dict[str, Any],
    ) -> Latency | RuntimeError:
        """Return the latency that a reading amounts to, with its conditions; a failure stays one.

        Args:
            details: what was seen while the readings were taken, the same for all of them.
        """
        if isinstance(reading, RuntimeError):
            return reading

        # A ratio with a network that lacks its graph says little, whichever of the two it is.
        why_no_graph = candidate.why_no_graph or baseline.why_no_graph
        flags = self._list_faults(reading, details, lacks_graph=bool(why_no_graph))
        return Latency(
            **self.conditions,
            runtime_ms=reading.candidate_ms,
            baseline_ms=reading.baseline_ms,
            ratio=reading.ratio,
            ci=reading.ci,
            rounds=reading.rounds,
            rejected=reading.rejected,
            first_ms=candidate.first_ms,
            baseline_first_ms=baseline.first_ms,
            host_ms=reading.candidate_host_ms,
            baseline_host_ms=reading.baseline_host_ms,
            flags=",".join(flags),
            operators=candidate.operators,
            details={
                **details,
                "layers": candidate.layers,
                "why_no_graph": why_no_graph,
                "idle": reading.idle,
                "ratio_p10": reading.ratio_low,
                "ratio_p90": reading.ratio_high,
            },
        )

    def _list_faults(
        self, reading: Reading, details: dict[str, Any], *, lacks_graph: bool
    ) -> list[str]:
        """Return why a reading is not to be relied on, under the conditions of this meter."""
        return find_faults(
            reading,
            drifted=details["drift"] > MAX_DRIFT[self.device.type],
            contaminated=details["neighbours"] not in ([], UNKNOWN),
            lacks_graph=lacks_graph,
            on_gpu=self.device.type == "cuda",
            target_ci=self.config.target_ci,
        )


def _read_sm_mhz(device: torch.device) -> float | None:
    """Return the clock of a GPU that has just worked; None: unknown, or the device is a CPU."""
    # nvidia-smi gives text where a GPU does not tell its clock.
    clock = surroundings(device).get("sm_mhz")
    return clock if isinstance(clock, float) else None


def join_sizes(sizes: Sequence[Size]) -> str:
    """Return sizes as a record holds them: "64x64,339x510", height first."""
    return ",".join(map(str, sizes))
