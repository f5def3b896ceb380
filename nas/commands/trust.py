"""Train members of a run's front much longer, and say how far their order holds.

A search ranks by brief trainings. Where the order of its front holds after trainings of twenty times their
length, it can be trusted; Kendall's tau says how far, with its 95 % interval. What is trained is kept in the
run's trust.json as it comes, and shown in its report; the same command goes on where it was stopped.

Examples:
    nas trust run=runs/mine
    nas trust run=runs/mine members=12 factor=10
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table as Grid

from nas.analysis.run_state import Retrained
from nas.cli.invocation import UsageError
from nas.cli.schema import build, check
from nas.commands import search
from nas.commands.architectures import resolve_parent
from nas.measure.device import pick_device
from nas.report.numbers import fixed
from nas.report.page import render
from nas.search.evaluation.workers import worker_count
from nas.search.fidelity.config import FidelityConfig
from nas.search.retraining import chosen_members, retrain
from nas.search.source import Source, table_source, training_source
from nas.search.store import run_directory
from nas.search.store.runs import load_run
from nas.search.table.table import Table, find_table

THROUGH = FidelityConfig(rungs=[], probes=0, least_tau=-1.0)


def run(
    *,
    run: str,
    members: int,
    factor: int,
    rate: float,
    workers: int | None,
    device: Literal["auto", "cpu", "cuda"],
) -> int:
    """Train, print and rewrite the report; gives the exit status."""
    for name, value in (("members", members), ("factor", factor)):
        if value < 2:
            raise UsageError(f"{name} must be at least 2, got {value}")
    if not rate > 0:
        raise UsageError(f"rate must be above 0, got {rate:g}")
    folder = Path(run)
    parts = build(check(search.run, search.checked_config(folder), given=("invocation",)))
    state = load_run(folder)
    chosen = chosen_members(state, members)
    where = pick_device(device)
    count = worker_count(workers, where)
    source = _longer(folder, parts, factor, rate, count, device)
    console = Console()
    for notice in source.notices:
        console.print(notice, markup=False, highlight=False)
    steps = source.fidelities[-1]
    console.print(f"{len(chosen)} of the front of {state.name}, {steps} steps each", highlight=False)
    try:
        with source.pool() as pool:
            found = retrain(
                folder,
                chosen,
                pool,
                steps=steps,
                show=lambda done, of: console.print(f"trained {done} of {of}", highlight=False),
            )
    except KeyboardInterrupt:
        console.print("Stopped; what is done is kept. The same command goes on.")
        return 130
    state = load_run(folder)
    run_directory.rewrite(folder, state, render, draft_end=f"trust-{os.getpid()}")
    if not console.is_terminal:
        console = Console(width=160)
    console.print(_grid(found))
    agreement = state.retrained_agreement
    assert agreement
    if agreement.tau is None:
        console.print(
            f"{agreement.num_networks} networks are too few for a rank agreement; give more members="
        )
    else:
        console.print(
            f"Kendall's tau between {agreement.lower} and {agreement.upper} steps: {agreement.tau:.2f} "
            f"({agreement.low:.2f} to {agreement.high:.2f}), of {agreement.num_networks} networks",
            highlight=False,
        )
    console.print(f"Report: {folder / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _longer(
    folder: Path, parts: Mapping[str, Any], factor: int, rate: float, count: int, device: str
) -> Source:
    """Where the run got its results from, with longer trainings.

    Raises:
        ValueError: what the run was made with is not there any more, or its table holds nothing longer.
    """
    proxy = parts["proxy"]
    if parts["evaluator"].kind == "table":
        longest = Table.load(find_table(parts["table"])).facts.fidelities[-1]
        if longest <= proxy.steps:
            raise ValueError(f"run={folder}: its table holds nothing longer than its {proxy.steps} steps")
        return table_source(
            table=parts["table"],
            space=parts["space"],
            count=count,
            seed=parts["seed"],
            scale=parts["scale"],
            ladder_seeds=1,
            proxy=dataclasses.replace(proxy, steps=longest),
            fidelity=THROUGH,
            challenge=parts["challenge"],
            limits={},
        )
    optimizer = proxy.optimizer
    muon_lr = None if optimizer.muon_lr is None else optimizer.muon_lr * rate
    slower = dataclasses.replace(optimizer, lr=optimizer.lr * rate, muon_lr=muon_lr)
    return training_source(
        run=folder,
        device=pick_device(device),
        count=count,
        seed=parts["seed"],
        scale=parts["scale"],
        data=parts["data"],
        proxy=dataclasses.replace(proxy, steps=proxy.steps * factor, optimizer=slower),
        fidelity=THROUGH,
        latency=parts["latency"],
        challenge=parts["challenge"],
        limits={},
        replay={},
        parent=resolve_parent(parts["parent"], parts["parent_weights"], scale=parts["scale"]),
        time_cap=None,
    )


def _grid(found: tuple[Retrained, ...]) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD)
    for head in ("trial", "steps", "PSNR dB", "long steps", "PSNR dB", "seconds"):
        grid.add_column(head, justify="right")
    for one in sorted(found, key=lambda one: one.psnr_db):
        brief, long = fixed(one.psnr_db, 3), fixed(one.long_psnr_db, 3)
        grid.add_row(str(one.number), str(one.fidelity), brief, str(one.steps), long, fixed(one.seconds, 0))
    return grid
