"""Train every member of a space into a table, which searches read in place of training.

Examples:
    nas tabulate out=tables/mini.parquet
    nas tabulate space=span space.channels=[16,24] ladder=[16x1,16x3,24x6] out=tables/span.parquet
    nas tabulate out=mini.parquet proxy=overnight data=folder data.train=/data/a data.val=/data/b
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from nas.cli.ending import end_early
from nas.cli.exit_status import OK
from nas.cli.invocation import Invocation, UsageError
from nas.data.config import DataConfig
from nas.data.roles import Roles, open_roles
from nas.measure.device import fingerprint, pick_device
from nas.measure.latency.config import LatencyConfig
from nas.report.numbers import duration
from nas.search.backends.base import ReadingParts, TrainingParts
from nas.search.backends.training import gather_settings
from nas.search.engines.base import Engine, Placement
from nas.search.evaluation.settings import EvaluatorSettings
from nas.search.fidelity.config import FidelityConfig
from nas.search.store.run_folder.settings import shown_settings
from nas.search.table.contents import TableContents
from nas.search.table.log import find_log, open_log, refuse_complete
from nas.search.table.tabulation import Show, assemble_table, tabulate
from nas.system.console import PlainConsole, open_console, print_lines
from nas.system.faults import ClosedOutputError, MachineError, blaming_machine
from nas.system.files.owned_folder import OwnedFolder
from nas.train.proxy import ProxyConfig
from search_spaces.chooser import Space

# A table travels: it tells these by their names, not by where they lay.
FOLDERS = tuple(f"data.{name}" for name in ("train", "val", "test", "lr", "lr_train", "cache"))


def run(
    *,
    out: str,
    ladder: list[str],
    seeds: int,
    repeated: int,
    workers: int | None,
    seed: int,
    device: Literal["auto", "cpu", "cuda"],
    scale: Literal[2, 3, 4],
    space: Space,
    proxy: ProxyConfig,
    fidelity: FidelityConfig,
    data: DataConfig,
    latency: LatencyConfig,
    engine: Engine,
    invocation: Invocation,
) -> int:
    """Make a table, or go on making it; return the exit status."""
    # What can be refused is refused before anything is written.
    path = Path(out)
    _check_usage(path, ladder, seeds, repeated)
    fidelity.fidelities(proxy.steps)  # refuses rungs that are none
    chosen_device = pick_device(device)
    contents = TableContents.of(
        space, ladder_sizes=ladder, num_seeds=seeds, num_repeated=repeated, scale=scale, seed=seed
    )
    roles = open_roles(data, scale=scale, patch=proxy.patch, batch_size=proxy.batch_size)

    # How many workers can be had is known before one is started.
    placement = engine.place_workers(workers, chosen_device.type)

    settings = gather_settings(
        TrainingParts(data=data, proxy=proxy, fidelity=fidelity),
        ReadingParts(latency=latency),
        None,
        roles,
        run=path.parent,  # trainings get an empty folder in its place
        placement=placement,
        device=chosen_device,
        seed=seed,
        baseline=contents.baseline,
    )
    return _make_table(path, contents, settings, roles, engine, placement, invocation)


def _make_table(
    path: Path,
    contents: TableContents,
    settings: EvaluatorSettings,
    roles: Roles,
    engine: Engine,
    placement: Placement,
    invocation: Invocation,
) -> int:
    """Train what a table lacks and write it; return the exit status."""
    console = open_console(lasts=True)
    _print_plan(console, contents, settings, roles)

    # From here on something is written, beside the table alone.
    shown = _list_settings(invocation)
    way_out = f"what is done stands in {find_log(path)}; the same command goes on"
    try:
        with open_log(path, shown | {"images": roles.fingerprints}) as log:
            print_lines(console, log.notices)
            show = _make_show(console, len(log.trained))
            # Trainings outside a run keep nothing, so their run directory stays empty.
            assert settings.shared
            with blaming_machine(way_out), OwnedFolder() as empty, settings.shared as told:
                print_lines(console, told)
                elsewhere = replace(settings, run=empty)
                tabulate(contents, log, elsewhere, engine=engine, placement=placement, show=show)

            # A search of the table is told which space it was made of.
            chosen_space = _list_space_overrides(invocation)
            table = assemble_table(
                contents,
                log,
                fidelities=settings.fidelities,
                settings=shown | {"chosen_space": chosen_space},
                environment=fingerprint(torch.device(settings.device))
                | {"data": roles.fingerprints},
            )
            # The log goes last: a kill between the two leaves a table that is complete.
            with blaming_machine(way_out):
                table.save(path)
                log.path.unlink()
        print_lines(console, [f"{len(table.entries)} members in {path}"])
    except MachineError as error:
        if not find_log(path).exists():  # nothing is there to go on with
            raise MachineError(error.reason) from error
        raise
    except (KeyboardInterrupt, ClosedOutputError) as stop:
        return end_early("tabulate", stop, _describe_rest(path))
    return OK


def _describe_rest(path: Path) -> str:
    """Say what a command that was stopped leaves of its table, and how to go on."""
    if path.exists():
        return f"The table is complete: {path}"
    if find_log(path).exists():
        return f"Stopped; what is done stands in {find_log(path)}. The same command goes on."
    return "Stopped before anything was done; nothing is left behind."


def _print_plan(
    console: PlainConsole, contents: TableContents, settings: EvaluatorSettings, roles: Roles
) -> None:
    """Print what is to be trained, and what was found of the images."""
    fidelities = ", ".join(map(str, settings.fidelities))
    plan = (
        f"{len(contents.members)} members, {len(contents.trainings())} trainings of "
        f"{settings.proxy.steps} steps, read at {fidelities}"
    )
    print_lines(console, [*roles.notices, roles.lr_notice, plan])


def _list_space_overrides(invocation: Invocation) -> str:
    """Return the overrides that chose the space; the command's default where none did."""
    chosen = [override for override in invocation.overrides if override.startswith("space")]
    return " ".join(chosen) or "space=esr_bench_mini"


def _check_usage(path: Path, ladder: Sequence[str], seeds: int, repeated: int) -> None:
    """Check the keys that say what the table holds, before anything is opened.

    Raises:
        UsageError: one is out of range, or names a file that cannot become a table.
    """
    if path.suffix != ".parquet":
        raise UsageError(
            f"out: a table is a .parquet file, got {path}; such as {path.with_suffix('.parquet')}"
        )
    refuse_complete(path)

    # A table is made in hours: its keys are checked as strictly as a search's.
    for name, value, least in (("seeds", seeds, 1), ("repeated", repeated, 0)):
        if value < least:
            raise UsageError(f"{name} must be at least {least}, got {value}")

    if len(ladder) < 2:
        raise UsageError(f"ladder must name at least two members, smallest first, got {ladder}")


def _list_settings(invocation: Invocation) -> dict[str, Any]:
    """List the settings that a table's figures depend on, by dotted key."""
    settings = shown_settings(invocation.config)
    # Where and how fast it is made does not change what it holds.
    for key in ("out", "workers", "engine", "longer_proxy"):
        settings.pop(key, None)
    return {
        key: _name_folders(value) if key in FOLDERS else value for key, value in settings.items()
    }


def _make_show(console: PlainConsole, num_trained_before: int) -> Show:
    """Return what prints progress; of trainings also the time left at this session's pace."""
    start = time.monotonic()

    def show(what: str, num_done: int, num_all: int) -> None:
        left = ""
        # Earlier sessions' trainings say nothing about this one's pace.
        num_own = num_done - num_trained_before
        if what == "trained" and num_own > 0:
            # At the mean pace: trainings of a space differ in length, and come in mixed order.
            seconds = (time.monotonic() - start) / num_own * (num_all - num_done)
            left = f", {duration(seconds)} left"
        print_lines(console, [f"{what} {num_done} of {num_all}{left}"])

    return show


def _name_folders(value: str | list[str]) -> str | list[str]:
    """Return a folder's name, or the name of each of several."""
    return Path(value).name if isinstance(value, str) else [Path(folder).name for folder in value]
