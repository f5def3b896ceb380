"""Making a table: every member of a space is measured and trained; what is done is kept."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nas.search.engines.base import Engine, Placement, Result, Task
from nas.search.engines.tasks import keep_each, run_batches, run_tasks, started
from nas.search.evaluation.evaluator import ProxyEvaluator
from nas.search.evaluation.settings import EvaluatorSettings
from nas.search.same_images import refuse_other_base
from nas.search.table.contents import TableContents
from nas.search.table.entries import Entry, Facts, Training
from nas.search.table.log import Measured, TabulationLog, Trained
from nas.search.table.table import Table
from nas.system.faults import MachineError

Show = Callable[[str, int, int], None]  # what is done, how many of it are, and of how many


def tabulate(
    contents: TableContents,
    log: TabulationLog,
    settings: EvaluatorSettings,
    *,
    engine: Engine,
    placement: Placement,
    show: Show,
) -> None:
    """Train and measure what a log lacks of a table.

    Latencies come last, one at a time, when nothing else of ours runs.

    Raises:
        ValueError: the baseline cannot be trained, or a member cannot be measured.
        MachineError: a fault of the machine took a task again and again.
    """
    # The others wait for the baseline, whose PSNR says when a training is stuck.
    make_evaluator = functools.partial(ProxyEvaluator, settings)
    baseline = contents.trainings()[0]
    with started(engine, make_evaluator, placement):
        _train_missing(contents, log, engine, [baseline], show)
        if error := log.trained[baseline].error:
            raise ValueError(f"the reference {contents.ladder_sizes[-1]}: {error}")
        _train_missing(contents, log, engine, contents.trainings()[1:], show)

    # One worker, as two readings on one machine would disturb each other.
    with started(engine, make_evaluator, dataclasses.replace(placement, num_workers=1)):
        _measure_missing(contents, log, engine, show)


def assemble_table(
    contents: TableContents,
    log: TabulationLog,
    *,
    fidelities: tuple[int, ...],
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> Table:
    """Return the table of a log that is complete.

    Args:
        settings, environment: how it was made, to be read by people.
    """
    # A member has the trainings of all seeds that it was given, seed 0 first.
    entries = {}
    for arch_id, spec in contents.members.items():
        measured = log.measured[arch_id]
        seeds = [seed for seed in range(contents.num_seeds) if (arch_id, seed) in log.trained]
        entries[arch_id] = Entry(
            spec=spec,
            cost=measured.cost,
            latency=measured.latency,
            measure_seconds=measured.seconds,
            trainings=tuple(
                _read_training(log.trained[arch_id, seed], fidelities) for seed in seeds
            ),
        )

    # Read against itself the baseline's ratio would be 1 but for noise.
    baseline = contents.baseline.arch_id
    latency = entries[baseline].latency
    exact = dataclasses.replace(latency, ratio=1.0, ci=0.0, runtime_ms=latency.baseline_ms)
    entries[baseline] = dataclasses.replace(entries[baseline], latency=exact)

    first = log.trained[baseline, 0].quality
    assert first, "the baseline's training is done first"
    facts = Facts(
        scale=contents.scale,
        ladder_sizes=contents.ladder_sizes,
        fidelities=fidelities,
        base_db=first.base_db,
        conditions=exact.conditions,
        settings=settings,
        environment=environment,
    )

    return Table(facts=facts, entries=entries)


def _train_missing(
    contents: TableContents,
    log: TabulationLog,
    engine: Engine,
    trainings: Sequence[tuple[str, int]],
    show: Show,
) -> None:
    """Run the trainings that the log lacks; what diverged or got stuck is kept as a failure.

    Raises:
        MachineError: it was read on other images than the baseline, or a fault of the machine took
            one again and again: that says nothing about the member.
    """
    baseline = log.trained.get((contents.baseline.arch_id, 0))
    reference_db = baseline.quality.psnr_db if baseline and baseline.quality else None
    tasks = [
        Task(
            key=f"{arch_id} {seed}",
            method="train",
            args=(contents.members[arch_id], seed, reference_db),
        )
        for arch_id, seed in trainings
        if (arch_id, seed) not in log.trained
    ]

    def keep(result: Result) -> None:
        if result.is_lost:
            _refuse_failure(result)
        arch_id, seed = result.task.key.split()
        if result.value and baseline and baseline.quality:
            refuse_other_base(result.value.base_db, baseline.quality.base_db)
        done = Trained(arch_id=arch_id, seed=int(seed), quality=result.value, error=result.error)
        log.add(done)
        show("trained", len(log.trained), len(contents.trainings()))

    # Each is kept as it comes: a kill costs what runs, no more.
    for batch in run_batches(engine, tasks):
        keep_each(batch, keep)


def _measure_missing(
    contents: TableContents, log: TabulationLog, engine: Engine, show: Show
) -> None:
    """Measure the members that the log lacks.

    Raises:
        ValueError, MachineError: one cannot be measured.
    """
    specs = [spec for arch_id, spec in contents.members.items() if arch_id not in log.measured]
    tasks = [Task(key=spec.arch_id, method="measure", args=(spec,)) for spec in specs]
    # A member without a latency would be a hole in the table: one failure ends it.
    for result in run_tasks(engine, tasks):
        _refuse_failure(result)
        cost, latency, seconds = result.value
        log.add(Measured(arch_id=result.task.key, cost=cost, latency=latency, seconds=seconds))
        show("measured", len(log.measured), len(contents.members))


def _read_training(done: Trained, fidelities: tuple[int, ...]) -> Training:
    """Return a training of the table from the log's.

    Raises:
        ValueError: it was read at other steps.
    """
    quality = done.quality
    if quality is None:
        return Training(curve=(), train_seconds=0.0, restarts=0, error=done.error)

    # With one fidelity no curve was kept: its end is the curve.
    curve = quality.curve or ((quality.fidelity, quality.psnr_db),)
    if tuple(steps for steps, _ in curve) != fidelities:
        raise ValueError(
            f"the training of {done.arch_id}, seed {done.seed}, was read at other steps than "
            f"{', '.join(map(str, fidelities))}: the log was changed"
        )
    return Training(curve=curve, train_seconds=quality.train_seconds, restarts=quality.restarts)


def _refuse_failure(result: Result) -> None:
    """Raise MachineError where the machine took a task, ValueError where it failed otherwise."""
    if result.is_lost:
        raise MachineError(f"{result.task.method} {result.task.key}: {result.error}")
    if result.error:
        raise ValueError(f"{result.task.method} {result.task.key}: {result.error}")
