"""Train members of a run's front much longer, and say how far their order holds.

A search ranks by brief trainings. Where the order of its front holds after trainings of twenty times their
length, it can be trusted; Kendall's tau says how far, with its 95 % interval. What is trained is kept in the
run's trust.json as it comes, and shown in its report; the same command goes on where it was stopped.

Examples:
    nas trust run=runs/mine
    nas trust run=runs/mine members=12 factor=10
"""

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
from nas.search.backends.base import (
    Backend,
    BackendParts,
    OpenedBackend,
    ReadingParts,
    Rules,
    TrainingParts,
)
from nas.search.engines.base import Engine, Placement
from nas.search.engines.tasks import started
from nas.search.fidelity.config import FidelityConfig
from nas.search.retraining import chosen_members, retrain
from nas.search.store import run_directory
from nas.search.store.runs import load_run

THROUGH = FidelityConfig(rungs=[], probes=0, least_tau=-1.0)


def run(
    *,
    run: str,
    members: int,
    factor: int,
    rate: float,
    workers: int | None,
    device: Literal["auto", "cpu", "cuda"],
    engine: Engine,
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
    placement = engine.place_workers(workers, pick_device(device).type)
    backend = _open_longer(folder, parts, factor, rate, placement, device)
    console = Console()
    for notice in backend.notices:
        console.print(notice, markup=False, highlight=False)
    steps = backend.fidelities[-1]
    console.print(
        f"{len(chosen)} of the front of {state.name}, {steps} steps each", highlight=False
    )
    try:
        with started(backend.engine or engine, backend.make_evaluator, placement) as running:
            found = retrain(
                folder,
                chosen,
                running,
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
    console.print(
        f"Report: {folder / 'report.html'}", markup=False, highlight=False, soft_wrap=True
    )
    return 0


def _open_longer(
    folder: Path,
    parts: Mapping[str, Any],
    factor: int,
    rate: float,
    placement: Placement,
    device: str,
) -> OpenedBackend:
    """Open what the run got its results from, with longer trainings that are read at their end.

    Raises:
        ValueError: what the run was made with is not there any more, or its table holds nothing longer.
    """
    evaluator: Backend = parts["evaluator"]
    parent = resolve_parent(parts["parent"], parts["parent_weights"], scale=parts["scale"])
    own = BackendParts(
        run=folder,
        device=pick_device(device),
        placement=placement,
        seed=parts["seed"],
        scale=parts["scale"],
        space=parts["space"],
        table=parts["table"],
        training=TrainingParts(
            data=parts["data"], proxy=parts["proxy"], fidelity=THROUGH, parent=parent
        ),
        reading=ReadingParts(latency=parts["latency"]),
        rules=Rules(challenge=parts["challenge"], limits={}, ladder_seeds=1),
    )
    return evaluator.open(evaluator.lengthen(own, factor=factor, rate=rate))


def _grid(found: tuple[Retrained, ...]) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD)
    for head in ("trial", "steps", "PSNR dB", "long steps", "PSNR dB", "seconds"):
        grid.add_column(head, justify="right")
    for one in sorted(found, key=lambda one: one.psnr_db):
        brief, long = fixed(one.psnr_db, 3), fixed(one.long_psnr_db, 3)
        grid.add_row(
            str(one.number), str(one.fidelity), brief, str(one.steps), long, fixed(one.seconds, 0)
        )
    return grid
