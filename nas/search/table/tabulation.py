"""Making a table: every member of a space is measured and trained; what is done is kept as it comes."""

import functools
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nas.analysis.ladder import rung_spec
from nas.record import Cost, Latency, Quality
from nas.search.evaluation.evaluator import ProxyEvaluator
from nas.search.evaluation.tasks import EvaluatorSettings
from nas.search.evaluation.workers import Job, Outcome, Workers, work
from nas.search.model.decisions import MAX_LISTED, IndexChooser, read_decisions
from nas.search.table.table import Entry, Facts, Run, Table
from search_spaces.chooser import Space
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a table will hold.

    Attributes:
        members: every architecture once.
        rungs: SPAN-like members, channels x blocks, smallest first; the last is baseline and reference.
        repeated: arch_ids of the members that are trained with every seed, those of the rungs among them.
        seeds: how many there are.
    """

    members: Mapping[str, ArchSpec]
    rungs: tuple[str, ...]
    repeated: frozenset[str]
    seeds: int
    scale: int

    @classmethod
    def of(
        cls, space: Space, *, rungs: Sequence[str], seeds: int, num_repeated: int, scale: int, seed: int
    ) -> "Plan":
        """List a space.

        Args:
            num_repeated: members with all seeds; those that are no rungs are drawn.
        Raises:
            ValueError: the space is too large to be tabulated, or a rung is not in it.
        """
        members = {spec.arch_id: spec for spec in all_members(space)}
        own = {rung: rung_spec(rung, scale).arch_id for rung in rungs}
        if outside := [rung for rung, arch_id in own.items() if arch_id not in members]:
            raise ValueError(
                f"ladder: {', '.join(outside)} (SPAN, channels x blocks) is not in the space, whose table is "
                "judged by it; name members of the space, such as its smallest and its largest"
            )
        others = sorted(members.keys() - set(own.values()))
        drawn = random.Random(seed).sample(others, min(len(others), max(0, num_repeated - len(own))))
        return cls(
            members=members,
            rungs=tuple(rungs),
            repeated=frozenset([*own.values(), *drawn]),
            seeds=seeds,
            scale=scale,
        )

    @property
    def reference(self) -> ArchSpec:
        return rung_spec(self.rungs[-1], self.scale)

    def trainings(self) -> list[tuple[str, int]]:
        """arch_id and seed of each: the reference's first, as others are held to it; seed by seed."""
        first = self.reference.arch_id
        names = [first, *(name for name in self.members if name != first)]
        return [
            (name, seed) for seed in range(self.seeds) for name in names if seed == 0 or name in self.repeated
        ]


def all_members(space: Space) -> Iterator[ArchSpec]:
    """Every point of a space; one architecture may come more than once.

    Raises:
        ValueError: there are too many.
    """
    options = {decision.name: decision.num_options for decision in read_decisions(space)}
    if (points := math.prod(options.values())) > MAX_LISTED:
        raise ValueError(
            f"space: it has {points:,} points, a table holds every one of them and takes at most "
            f"{MAX_LISTED:,}; narrow it, for example space.num_blocks=[1,2]"
        )
    for point in itertools.product(*map(range, options.values())):
        yield space.sample(IndexChooser(dict(zip(options, point, strict=True))))


class Log:
    """What is done of a table, a JSON line each, beside the file that it will be.

    Raises:
        ValueError: it was begun with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.measured: dict[str, dict[str, Any]] = {}
        self.trained: dict[tuple[str, int], dict[str, Any]] = {}
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append({"settings": settings})
            return
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:  # a kill cut the last line
            path.write_bytes(whole)
        begun, *lines = [json.loads(line) for line in whole.splitlines()]
        before, now = begun["settings"], json.loads(json.dumps(settings))
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise ValueError(
                    f"{key}: {path.name} was begun with {before.get(key)}, now it is {now.get(key)}; give "
                    "what it was begun with, another out=, or delete that file"
                )
        for line in lines:
            if "seed" in line:
                self.trained[line["arch_id"], line["seed"]] = line
            else:
                self.measured[line["arch_id"]] = line

    def add(self, line: dict[str, Any]) -> None:
        self._append(line)
        if "seed" in line:
            self.trained[line["arch_id"], line["seed"]] = line
        else:
            self.measured[line["arch_id"]] = line

    def _append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")


def tabulate(
    plan: Plan,
    log: Log,
    settings: EvaluatorSettings,
    *,
    count: int,
    show: Callable[[str, int, int], None],
) -> None:
    """Train and measure what is missing: latencies last, one at a time, when nothing else of ours runs.

    Args:
        show: called with what is being done, how many of it are done, and of how many.
    """
    trainings = plan.trainings()
    with Workers(functools.partial(ProxyEvaluator, settings), count=count, threads=1) as pool:
        reference = trainings[0]
        for batch in ([reference], trainings[1:]):  # the others are called stuck by what it reached
            known = log.trained.get(reference, {}).get("quality")
            reference_db = known["psnr_db"] if known else None
            jobs = [
                Job(key=f"{name} {seed}", method="train", args=(plan.members[name], seed, reference_db))
                for name, seed in batch
                if (name, seed) not in log.trained
            ]
            for outcome in work(pool, jobs, tick=lambda: None):
                name, seed = outcome.job.key.split()
                if outcome.died:
                    _refuse_failed(outcome)
                quality = asdict(outcome.result) if outcome.result else None
                log.add({"arch_id": name, "seed": int(seed), "quality": quality, "error": outcome.error})
                show("trained", len(log.trained), len(trainings))
            if batch == [reference] and not log.trained[reference]["quality"]:
                raise ValueError(f"the reference {plan.rungs[-1]}: {log.trained[reference]['error']}")
    todo = [spec for name, spec in plan.members.items() if name not in log.measured]
    with Workers(functools.partial(ProxyEvaluator, settings), count=1, threads=1) as pool:
        jobs = [Job(key=spec.arch_id, method="measure", args=(spec,)) for spec in todo]
        for outcome in work(pool, jobs, tick=lambda: None):
            _refuse_failed(outcome)
            cost, latency, seconds = outcome.result
            log.add(
                {
                    "arch_id": outcome.job.key,
                    "cost": asdict(cost),
                    "latency": asdict(latency),
                    "seconds": seconds,
                }
            )
            show("measured", len(log.measured), len(plan.members))


def finished(plan: Plan, log: Log, *, fidelities: tuple[int, ...], settings: Any, environment: Any) -> Table:
    """The table of a log that is complete."""
    entries = {}
    for name, spec in plan.members.items():
        measured = log.measured[name]
        entries[name] = Entry(
            spec=spec,
            cost=Cost(**measured["cost"]),
            latency=Latency(**measured["latency"]),
            measure_seconds=measured["seconds"],
            runs=tuple(
                _run(log.trained[name, seed], fidelities)
                for seed in range(plan.seeds)
                if (name, seed) in log.trained
            ),
        )
    reference = plan.reference.arch_id
    own = entries[reference].latency
    exact = replace(own, ratio=1.0, ci=0.0, runtime_ms=own.baseline_ms)  # to itself, by definition
    entries[reference] = replace(entries[reference], latency=exact)
    facts = Facts(
        scale=plan.scale,
        rungs=plan.rungs,
        fidelities=fidelities,
        base_db=log.trained[reference, 0]["quality"]["base_db"],
        conditions=entries[reference].latency.conditions,
        settings=settings,
        environment=environment,
    )
    return Table(facts=facts, entries=entries)


def _run(line: Mapping[str, Any], fidelities: tuple[int, ...]) -> Run:
    if line["quality"] is None:
        return Run(curve=(), train_seconds=0.0, restarts=0, error=line["error"])
    quality = Quality.from_dict(line["quality"])
    return Run(
        curve=quality.curve or ((fidelities[-1], quality.psnr_db),),
        train_seconds=quality.train_seconds,
        restarts=quality.restarts,
    )


def _refuse_failed(outcome: Outcome) -> None:
    if outcome.error:
        raise ValueError(f"{outcome.job.method} {outcome.job.key}: {outcome.error}")
