"""A run as a table: the contract's columns, the front, and the words that pick one architecture from it."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.analysis.front_probability import front_probability
from nas.analysis.ladder import RUNGS, LadderRun, Verdict, judge, references
from nas.analysis.pareto import front
from nas.analysis.trust import Agreement, Trust, agreement, measure_trust
from nas.record import GOALS, TrialRecord
from nas.score import Challenge

COLUMNS = (  # noqa: SIM905
    "number,state,arch_id,arch,fidelity,psnr_db,psnr_gain_db,runtime_ms,runtime_ratio,runtime_ci,params,"
    "flops,activations,memory_mib,score,feasible,on_front,latency_mode,device,train_seconds,error"
).split(",")
EXTRA_COLUMNS = (  # noqa: SIM905
    "num_conv,psnr_base_db,restarts,baseline_ms,latency_dtype,latency_sizes,latency_threads,latency_rounds,"
    "latency_rejected,latency_flags,first_ms,ratio_with_first,ties,psnr_seeds,front_probability,"
    "measure_seconds,wait_seconds,control_seconds,inherits,host_ms,baseline_host_ms"
).split(",")
INTEGERS = (  # noqa: SIM905
    "fidelity,params,flops,activations,num_conv,restarts,latency_threads,latency_rounds,latency_rejected,"
    "psnr_seeds,inherits"
).split(",")
FLOATS = (  # noqa: SIM905
    "psnr_db,psnr_gain_db,runtime_ms,runtime_ratio,runtime_ci,memory_mib,score,train_seconds,psnr_base_db,"
    "baseline_ms,first_ms,ratio_with_first,front_probability,"
    "measure_seconds,wait_seconds,control_seconds,host_ms,baseline_host_ms"
).split(",")
TIMED = ("runtime_ratio", "runtime_ms", "score")  # objectives that a latency decides
WORDS = ("best_score", "knee", "fastest", "smallest", "best_psnr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """What a row is measured by.

    Attributes:
        baseline: row 0, once it is there.
        can_rank: whether the ladder passes.
        references: the reference's PSNR by fidelity.
        top_fidelity: the steps of a whole training, as the ladder's are; None before it has begun.
    """

    baseline: TrialRecord | None
    can_rank: bool
    references: Mapping[int, float]
    top_fidelity: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrained:
    """A front member that was trained longer after the search."""

    number: int
    arch_id: str
    fidelity: int
    psnr_db: float
    steps: int
    long_psnr_db: float
    seconds: float


@dataclass(frozen=True, kw_only=True)  # no slots: what is made of it is made once
class RunState:
    """Everything that the tables and the report are made of; read from a run's journal.

    `records` are ordered by number; number 0 is the baseline. `settings` are shown, never computed with.
    """

    name: str
    challenge: Challenge
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    ladder: tuple[LadderRun, ...]
    records: tuple[TrialRecord, ...]
    settings: Mapping[str, Any]
    notices: tuple[str, ...] = ()
    test_psnr_db: Mapping[str, float] = dataclasses.field(default_factory=dict)  # by arch_id
    ladder_seeds: int = 1  # runs of each rung that make a ladder complete
    probes: tuple[int, ...] = ()  # numbers of the trials that are trained to the end whatever they promise
    retrained: tuple[Retrained, ...] = ()
    lr_origins: Mapping[str, str] = dataclasses.field(default_factory=dict)  # by role: how made
    rungs: tuple[str, ...] = RUNGS  # of the ladder, smallest first; the last is the reference of every gain

    @cached_property
    def verdict(self) -> Verdict | None:
        """The ladder's verdict; None while it is not complete."""
        done = Counter(run.rung for run in self.ladder)
        if any(done[rung] < self.ladder_seeds for rung in self.rungs):
            return None
        return judge(self.ladder, -self.challenge.gate.min_gain_db, self.rungs)

    @property
    def can_rank(self) -> bool:
        verdict = self.verdict
        return verdict is not None and verdict.passes

    @cached_property
    def trust(self) -> Trust:
        """How far fidelities rank alike, by what was trained to the end whatever it promised; the noise."""
        ladder = [(run.rung, {**dict(run.curve), run.fidelity: run.psnr_db}) for run in self.ladder]
        top = max((run.fidelity for run in self.ladder), default=None)
        first = {
            run.rung: curve for run, (_, curve) in zip(self.ladder, ladder, strict=True) if run.seed == 0
        }
        probes = {
            str(record.number): dict(record.quality.curve)
            for record in self.records
            if record.number in self.probes and record.quality and record.quality.fidelity == top
        }
        return measure_trust(first | probes, ladder)

    @cached_property
    def retrained_agreement(self) -> Agreement | None:
        """How far what was trained longer has kept its order; None where nothing was."""
        if not self.retrained:
            return None
        first = self.retrained[0]
        pairs = [(one.psnr_db, one.long_psnr_db) for one in self.retrained]
        return agreement(pairs, lower=first.fidelity, upper=first.steps)

    @cached_property
    def yardstick(self) -> Yardstick:
        return Yardstick(
            baseline=next((record for record in self.records if record.number == 0), None),
            can_rank=self.can_rank,
            references=references(self.ladder, self.rungs[-1]),
            top_fidelity=max((run.fidelity for run in self.ladder), default=None),
        )

    @cached_property
    def rows(self) -> pd.DataFrame:
        """What `table` copies."""
        return _rows(self)


def table(state: RunState) -> pd.DataFrame:
    """One row a record: `COLUMNS`, then `EXTRA_COLUMNS`; what was not measured is None or NaN."""
    return state.rows.copy()


def _rows(state: RunState) -> pd.DataFrame:
    yardstick = state.yardstick
    rows = [row_of(record, state, yardstick) for record in state.records]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *EXTRA_COLUMNS])
    frame = frame.astype(dict.fromkeys(FLOATS, "float64"))  # also where nothing was measured
    pool = _pool(frame, state)
    frame["on_front"] = np.where(_on_front(frame, state, pool), "yes", "no")
    frame["front_probability"] = _probability(frame, state, pool)
    frame["ties"] = _ties(frame, state)
    if state.test_psnr_db:
        frame["test_psnr_db"] = frame["arch_id"].map(state.test_psnr_db)
    return frame.astype(dict.fromkeys(INTEGERS, "Int64"))


def front_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows on the front, best score first."""
    return frame[frame["on_front"] == "yes"].sort_values(["score", "number"], kind="stable")


def best_score_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The complete rows that pass gate and limits, best score first."""
    passing = frame[(frame["feasible"] == "yes") & (frame["state"] == "complete")]
    return passing.sort_values(["score", "number"], kind="stable")


def costs(frame: pd.DataFrame, objectives: tuple[str, ...]) -> np.ndarray:
    """The objectives as an array (rows, objectives) in which small is good."""
    signs = [-1.0 if GOALS[name].direction == "maximize" else 1.0 for name in objectives]
    return np.asarray(frame[list(objectives)].to_numpy(dtype=float, na_value=np.nan) * np.array(signs))


def pick(state: RunState, which: str) -> TrialRecord:
    """The record that a word or a trial number names.

    Raises:
        ValueError: the word is not known, nothing fits, or `best_score` of a run that cannot rank.
    """
    by_number = {record.number: record for record in state.records}
    if which.isdigit():
        if int(which) not in by_number:
            known = f"it has 0 to {max(by_number)}" if by_number else "it has none yet"
            raise ValueError(f"pick={which}: {state.name} has no trial {which}; {known}")
        return by_number[int(which)]
    if which not in WORDS:
        raise ValueError(f"pick={which} is not known; use {', '.join(WORDS)} or a trial number")
    members = front_table(table(state))
    if members.empty:
        raise ValueError(f"pick={which}: {state.name} has no finished trial yet; resume it with nas search")
    if which == "best_score":
        if not state.can_rank:
            reason = state.verdict.reason if state.verdict else "its ladder is not complete"
            raise ValueError(
                f"pick=best_score: the proxy of {state.name} cannot rank ({reason}), so no score is the "
                "best; use pick=knee or a trial number, or search with a longer proxy"
            )
        members = best_score_rows(table(state))
        if members.empty:
            raise ValueError(
                f"pick=best_score: no trial of {state.name} passes gate and limits; use knee or a number"
            )
        return by_number[int(members["number"].iloc[0])]
    if which == "knee":
        return by_number[int(members["number"].iloc[_knee(costs(members, state.objectives))])]
    column = {"fastest": "runtime_ratio", "smallest": "params", "best_psnr": "psnr_db"}[which]
    best = members.sort_values([column, "number"], ascending=[which != "best_psnr", True])
    return by_number[int(best["number"].iloc[0])]


def row_of(record: TrialRecord, state: RunState, yardstick: Yardstick) -> dict[str, Any]:
    row: dict[str, Any] = {
        "number": record.number,
        "state": record.state,
        "arch_id": record.spec.arch_id,
        "arch": record.spec.to_json(),
        "error": record.error,
        "inherits": record.inherits,
    }
    row |= {f"{name}_seconds": value for name, value in record.seconds.items()}
    if cost := record.cost:
        row |= dataclasses.asdict(cost)
    if latency := record.latency:
        row |= {
            "runtime_ms": latency.runtime_ms,
            "runtime_ratio": latency.ratio,
            "runtime_ci": latency.ci,
            "latency_mode": latency.mode,
            "device": latency.device,
            "baseline_ms": latency.baseline_ms,
            "latency_dtype": latency.dtype,
            "latency_sizes": latency.sizes,
            "latency_threads": latency.threads,
            "latency_rounds": latency.rounds,
            "latency_rejected": latency.rejected,
            "latency_flags": latency.flags,
            "first_ms": latency.first_ms,
            "ratio_with_first": latency.ratio_with_first,
            "host_ms": latency.host_ms,
            "baseline_host_ms": latency.baseline_host_ms,
        }
    if quality := record.quality:
        row |= {
            "fidelity": quality.fidelity,
            "psnr_db": quality.psnr_db,
            "psnr_base_db": quality.base_db,
            "train_seconds": quality.train_seconds,
            "restarts": quality.restarts,
            "psnr_seeds": max(1, len(quality.seeds)),
        }
        reference = yardstick.references.get(quality.fidelity)
        if reference is not None:
            row["psnr_gain_db"] = quality.psnr_db - reference
    baseline = yardstick.baseline
    if latency and cost and baseline and baseline.cost:
        row["score"] = state.challenge.score(
            latency.ratio, cost.flops / baseline.cost.flops, cost.params / baseline.cost.params
        )
    row["feasible"] = _feasible(row, state, yardstick)
    return row


def _feasible(row: Mapping[str, Any], state: RunState, yardstick: Yardstick) -> str:
    """no when a limit or a believed gate fails, yes when all hold, else unknown."""
    if row["state"] == "rejected":
        return "no"
    values = {name: row.get(name) for name in state.limits}
    if any(value is not None and value > state.limits[name] for name, value in values.items()):
        return "no"
    gain = row.get("psnr_gain_db")
    is_believed = yardstick.can_rank and row.get("fidelity") == yardstick.top_fidelity  # as the ladder's are
    if not is_believed or gain is None or any(value is None for value in values.values()):
        return "unknown"
    return "yes" if state.challenge.gate.passes_relative(gain) else "no"


def _pool(frame: pd.DataFrame, state: RunState) -> npt.NDArray[np.intp]:
    """The rows that compete for the front but for the gate: whole, measured alike, within the limits."""
    complete = (frame["state"] == "complete").to_numpy()
    if not complete.any():
        return np.zeros(0, dtype=np.intp)
    fidelity = frame["fidelity"].astype(float).to_numpy()
    top = fidelity[complete].max()
    objectives = list(state.objectives)
    measured = frame[objectives].notna().all(axis=1).to_numpy()  # no gain before the ladder's last rung
    if set(objectives) & set(TIMED):
        measured = measured & _comparable(state)
    within = np.ones(len(frame), dtype=bool)
    for name, limit in state.limits.items():
        within &= ~(frame[name].astype(float).to_numpy() > limit)
    return np.flatnonzero(complete & (fidelity == top) & measured & within)


def _on_front(frame: pd.DataFrame, state: RunState, pool: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(frame), dtype=np.bool_)
    kept = pool[(frame["feasible"] != "no").to_numpy()[pool]]
    if len(kept):
        mask[kept] = front(costs(frame.iloc[kept], state.objectives))
    return mask


def _probability(frame: pd.DataFrame, state: RunState, pool: npt.NDArray[np.intp]) -> np.ndarray:
    """NaN where nothing is known of the noise, or a row does not compete."""
    found = np.full(len(frame), np.nan)
    verdict = state.verdict
    if verdict is not None and verdict.seed_std_db is not None and len(pool):
        found[pool] = front_probability(
            frame.iloc[pool],
            state.objectives,
            seed_std_db=verdict.seed_std_db,
            gate_db=state.challenge.gate.min_gain_db if verdict.passes else None,
            weights=state.challenge.weights,
        )
    return found


def _comparable(state: RunState) -> np.ndarray:
    """The rows whose latency was read under the conditions of the run's first: device, mode, dtype, sizes."""
    read = [record.latency and record.latency.conditions for record in state.records]
    first = next((conditions for conditions in read if conditions), None)
    return np.array([conditions is not None and conditions == first for conditions in read], dtype=bool)


def _ties(frame: pd.DataFrame, state: RunState) -> list[str]:
    """Per row, the numbers of other rows on the front whose runtime it may equal: their intervals overlap.

    Empty where no objective hangs on runtime, and for a row that was not timed as these were.
    """
    if not set(state.objectives) & set(TIMED):
        return [""] * len(frame)
    ratio, ci = frame["runtime_ratio"].to_numpy(), frame["runtime_ci"].to_numpy()
    comparable = _comparable(state)
    members = np.flatnonzero((frame["on_front"] == "yes").to_numpy())
    number = frame["number"].tolist()
    return [
        " ".join(
            str(number[other])
            for other in members
            if other != row and comparable[row] and abs(ratio[other] - ratio[row]) <= ci[other] + ci[row]
        )
        for row in range(len(frame))
    ]


def _knee(values: np.ndarray) -> int:
    """The member farthest below the plane through the front's extremes, each objective scaled to [0, 1]."""
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    return int(np.argmin(scaled.sum(axis=1) / math.sqrt(values.shape[1])))
