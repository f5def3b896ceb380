"""Where a search gets its results from: trainings on this machine, or a table in simulated time."""

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from nas.analysis.ladder import RUNGS, rung_spec
from nas.data.config import DataConfig
from nas.data.roles import open_roles
from nas.measure.device import fingerprint
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.meter import LatencyMeter
from nas.record import Latency
from nas.score import Challenge
from nas.search.evaluation.evaluator import ProxyEvaluator
from nas.search.evaluation.tasks import EvaluatorSettings
from nas.search.evaluation.workers import Pool, Workers
from nas.search.fidelity.config import FidelityConfig
from nas.search.table.evaluator import Simulation, TableEvaluator
from nas.search.table.table import Table, find_table
from nas.search.table.tabulation import all_members
from nas.system import file_locks
from nas.train.parent import ParentFile
from nas.train.proxy import ProxyConfig
from search_spaces.chooser import Space
from search_spaces.published import published
from search_spaces.spec import ArchSpec, with_scale


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorConfig:
    """Where results come from: what conf/evaluator/*.yaml builds."""

    kind: Literal["proxy", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a search is fed by.

    Attributes:
        rungs: of the ladder, smallest first; the last is the baseline.
        fidelities: steps at which trainings are read, their end the last.
        fingerprints: of all that results depend on, by name: a run is not resumed with other ones.
        conditions: of the latencies that it gives; empty: those of a replay, whatever they are.
        lr_origins: role -> how its LR images were made; it stands beside every PSNR.
        has_test: whether there is a test set.
        pool: makes the workers; `clock` gives their seconds.
    """

    baseline: ArchSpec
    rungs: tuple[str, ...]
    fidelities: tuple[int, ...]
    fingerprints: Mapping[str, str]
    environment: Mapping[str, Any]
    notices: Sequence[str]
    conditions: Mapping[str, Any]
    has_test: bool
    pool: Callable[[], AbstractContextManager[Pool]]
    clock: Callable[[], float]
    lr_origins: Mapping[str, str] = field(default_factory=dict)
    lacks: Callable[[ArchSpec], str] = lambda spec: ""  # why an architecture has no results here, in words


def training_source(
    *,
    run: Path,
    device: torch.device,
    count: int,
    seed: int,
    scale: int,
    data: DataConfig,
    proxy: ProxyConfig,
    fidelity: FidelityConfig,
    latency: LatencyConfig,
    challenge: Challenge,
    limits: Mapping[str, float],
    replay: Mapping[str, Latency],
    parent: ParentFile | None,
    time_cap: float | None,
) -> Source:
    """Trainings and readings on this machine, in worker processes.

    Raises:
        ValueError: data, latency or fidelity cannot be had so.
    """
    baseline = with_scale(published("span"), scale)
    fidelities = fidelity.fidelities(proxy.steps)
    meter = LatencyMeter(latency, baseline=baseline, device=device)  # the workers' own are made alike
    roles = open_roles(
        data, scale=scale, challenge=challenge.name, patch=proxy.patch, batch_size=proxy.batch_size
    )
    roles.need("train"), roles.need("val")
    settings = EvaluatorSettings(
        run=run,
        sets={role: images for role in ("train", "val", "test") if (images := roles.get(role))},
        memory_mib=data.memory_mib / count,
        cache=data.cache,
        scale=scale,
        challenge=challenge,
        proxy=proxy,
        fidelities=fidelities,
        latency=latency,
        limits=limits,
        device=str(device),
        seed=seed,
        baseline=baseline,
        replay=replay,
        parent=parent,
        time_cap=time_cap,
    )
    if proxy.distill and parent is None:
        raise ValueError(f"proxy.distill={proxy.distill:g} imitates a parent; name one with parent=...")
    return Source(
        baseline=baseline,
        rungs=RUNGS,
        fidelities=fidelities,
        fingerprints=roles.fingerprints,
        environment=fingerprint(device),
        notices=[
            *roles.notices,
            roles.lr_notice,
            *([] if file_locks.are_there() else [file_locks.MISSING]),
        ],
        conditions={} if replay else meter.conditions,
        has_test=roles.test is not None,
        lr_origins=roles.lr_origins,
        pool=lambda: Workers(functools.partial(ProxyEvaluator, settings), count=count, threads=1),
        clock=time.monotonic,
    )


def table_source(
    *,
    table: str,
    space: Space,
    count: int,
    seed: int,
    scale: int,
    ladder_seeds: int,
    proxy: ProxyConfig,
    fidelity: FidelityConfig,
    challenge: Challenge,
    limits: Mapping[str, float],
) -> Source:
    """A table in place of trainings, in simulated time.

    Raises:
        ValueError: the table lacks what is asked for: a member, a fidelity, a seed of its ladder, the scale.
    """
    path = find_table(table)
    found = Table.load(path)
    facts = found.facts
    if facts.scale != scale:
        raise ValueError(f"scale={scale}: table={table} is of scale {facts.scale}")
    members = [spec.arch_id for spec in all_members(space)]
    if outside := [arch_id for arch_id in members if arch_id not in found.entries]:
        raise ValueError(
            f"space: {len(outside)} of its {len(members)} members, such as {outside[0]}, are not in "
            f"table={table}; give the space that it was made of: {facts.settings['chosen_space']}"
        )
    if proxy.steps not in facts.fidelities:
        raise ValueError(
            f"proxy.steps={proxy.steps}: table={table} was read at {', '.join(map(str, facts.fidelities))} "
            f"steps; give one of these, such as proxy.steps={facts.fidelities[-1]}"
        )
    fidelities = fidelity.fidelities(proxy.steps)
    if missing := [str(steps) for steps in fidelities if steps not in facts.fidelities]:
        shares = [steps / proxy.steps for steps in facts.fidelities if steps < proxy.steps]
        raise ValueError(
            f"fidelity.rungs: table={table} was not read at {', '.join(missing)} steps; "
            f"give fidelity.rungs=[{','.join(f'{share:g}' for share in shares)}] or some of these"
        )
    seeds = min(len(found.entries[rung_spec(rung, scale).arch_id].runs) for rung in facts.rungs)
    if ladder_seeds > seeds:
        raise ValueError(f"ladder_seeds={ladder_seeds}: table={table} holds {seeds} trainings of a rung")
    evaluator = TableEvaluator(
        found, fidelities=fidelities, challenge=challenge, limits=dict(limits), seed=seed
    )
    simulation = Simulation(evaluator, count=count)
    return Source(
        baseline=evaluator.reference,
        rungs=facts.rungs,
        fidelities=fidelities,
        fingerprints={"table": hashlib.sha256(path.read_bytes()).hexdigest()[:16]},
        environment={"table": {"path": str(path), **facts.environment}},
        notices=[f"results are looked up in {path.name}: nothing is trained, seconds are simulated"],
        conditions=facts.conditions,
        has_test=False,
        pool=lambda: contextlib.nullcontext(simulation),  # no process has to be ended
        clock=lambda: simulation.now,
        lacks=lambda spec: "" if spec.arch_id in found.entries else f"is not in table={table}",
    )
