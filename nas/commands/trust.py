"""Train members of a run's front much longer, and say how far their order holds.

A search ranks by brief trainings. Where the order of its front holds after trainings of twenty
times their length, it can be trusted; Kendall's tau says how far, with its 95 % interval. What is
trained is kept in the run's trust.jsonl as it comes, and shown in its report; the same command goes
on where it was stopped. Where the run's ladder shows that its data do not last so long, that is said
before anything is trained: such trainings show how networks use the data up.

Examples:
    nas trust run=runs/mine
    nas trust run=runs/mine members=12 factor=10
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich import box
from rich.table import Table as Grid

from nas.analysis.run_state import Retrained, RunState
from nas.cli.ending import end_early
from nas.cli.exit_status import OK
from nas.cli.invocation import UsageError
from nas.commands.search import read_search
from nas.record import TrialRecord
from nas.report.lasting_words import doubt_steps
from nas.report.numbers import fixed
from nas.report.page import render
from nas.search.backends.base import OpenedBackend
from nas.search.config import SearchConfig
from nas.search.engines.base import Engine, Placement
from nas.search.engines.tasks import started
from nas.search.fidelity.config import FidelityConfig
from nas.search.retraining import chosen_members, retrain
from nas.search.store.journal import lock_run
from nas.search.store.run_folder import run_directory
from nas.search.store.run_folder.resuming import refuse_other_data
from nas.search.store.run_folder.runs import load_run
from nas.system.console import PlainConsole, open_console, print_lines
from nas.system.faults import ClosedOutputError, blaming_machine

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

    # The search as it was, but for where it runs now and for trainings that go through.
    folder = Path(run)
    config = read_search(folder, run=run, device=device, workers=workers)
    config = replace(
        config,
        training=replace(config.training, fidelity=THROUGH, time_cap=None),
        execution=replace(config.execution, engine=engine),
    )
    state = load_run(folder)
    chosen = chosen_members(state, members)
    placement = config.make_placement()
    backend = _open_longer(config, placement, factor, rate)
    refuse_other_data(folder, backend.fingerprints)

    console = open_console(lasts=True)
    steps = backend.fidelities[-1]
    plan = f"{len(chosen)} of the front of {state.name}, {steps} steps each"
    # It takes hours: whoever started it for nothing can stop it now.
    doubt = doubt_steps(state, steps)
    print_lines(console, [*backend.notices, plan, *filter(None, [doubt])])
    try:
        found = _train_members(
            folder, chosen, backend, backend.engine or engine, placement, console
        )
        state = load_run(folder)
        run_directory.rewrite(folder, state, render, draft_end=f"trust-{os.getpid()}")
        _print_result(console, state, found, folder)
    except (KeyboardInterrupt, ClosedOutputError) as stop:
        rest = "Stopped; what is done is kept. The same command goes on."
        return end_early("trust", stop, rest)
    return OK


def _train_members(
    folder: Path,
    members: Sequence[TrialRecord],
    backend: OpenedBackend,
    engine: Engine,
    placement: Placement,
    console: PlainConsole,
) -> tuple[Retrained, ...]:
    """Train what was not trained so long yet, and return all that was.

    Each result is kept as it comes, so Ctrl-C costs what runs alone.
    """
    with (
        lock_run(folder, "trust"),
        blaming_machine("what is done is kept; the same command goes on"),
        backend.resources as told,
        started(engine, backend.make_evaluator, placement) as running,
    ):
        print_lines(console, told)
        return retrain(
            folder,
            members,
            running,
            steps=backend.fidelities[-1],
            show=lambda done, of: print_lines(console, [f"trained {done} of {of}"]),
            tell=lambda line: print_lines(console, [line]),
        )


def _print_result(
    console: PlainConsole, state: RunState, found: tuple[Retrained, ...], folder: Path
) -> None:
    """Print the trainings, and how far their order agrees with the search's."""
    console.print(_grid(found))
    agreement = state.retrained_agreement
    assert agreement
    if agreement.tau is None:
        line = (
            f"{agreement.num_networks} networks are too few for a rank agreement; give more "
            "members= where the front has them, or search longer (trials=)"
        )
    else:
        line = (
            f"Kendall's tau between {agreement.lower} and {agreement.upper} steps: "
            f"{agreement.tau:.2f} "
            f"({agreement.low:.2f} to {agreement.high:.2f}), of {agreement.num_networks} networks"
        )
    doubt = doubt_steps(state, agreement.upper)
    print_lines(console, [*filter(None, [line, doubt]), f"Report: {folder / 'report.html'}"])


def _open_longer(
    config: SearchConfig, placement: Placement, factor: int, rate: float
) -> OpenedBackend:
    """Open what the run got its results from, with longer trainings that are read at their end.

    Raises:
        ValueError: what the run was made with is not there any more, or its table holds nothing
            longer.
    """
    evaluator = config.execution.backend
    parts = evaluator.lengthen(config.make_parts(placement), factor=factor, rate=rate)
    return evaluator.open(parts)


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
