"""Train every member of a space into a table, which searches read in place of training.

Examples:
    nas tabulate out=tables/mini.parquet
    nas tabulate space=span space.channels=[16,24] ladder=[16x1,16x3,24x6] out=tables/span.parquet
    nas tabulate out=mini.parquet data=folder data.train=/data/BSDS200 data.val=/data/Set14 proxy=overnight
"""

import tempfile
import time
from pathlib import Path
from typing import Literal

from rich.console import Console

from nas.cli.invocation import Invocation, UsageError
from nas.data.config import DataConfig
from nas.data.roles import open_roles
from nas.measure.device import fingerprint, pick_device
from nas.measure.latency.config import LatencyConfig
from nas.report.numbers import duration
from nas.search.evaluation.tasks import EvaluatorSettings
from nas.search.evaluation.workers import worker_count
from nas.search.fidelity.config import FidelityConfig
from nas.search.store.former import make_folders, remove_folders
from nas.search.store.runs import shown_settings
from nas.search.table.tabulation import Log, Plan, finished, tabulate
from nas.train.proxy import ProxyConfig
from search_spaces.chooser import Space

# Told to others by their names.
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
    invocation: Invocation,
) -> int:
    """Make a table, or go on making it; gives the exit status."""
    path = Path(out)
    if path.suffix != ".parquet":
        raise UsageError(
            f"out: a table is a .parquet file, got {out}; such as {path.with_suffix('.parquet')}"
        )
    if path.exists():
        raise UsageError(f"out: {out} exists and is complete; give another name")
    for name, value, least in (("seeds", seeds, 1), ("repeated", repeated, 0)):
        if value < least:
            raise UsageError(f"{name} must be at least {least}, got {value}")
    if len(ladder) < 2:
        raise UsageError(f"ladder must name at least two members, smallest first, got {ladder}")
    fidelities, where = fidelity.fidelities(proxy.steps), pick_device(device)
    plan = Plan.of(space, rungs=ladder, seeds=seeds, num_repeated=repeated, scale=scale, seed=seed)
    roles = open_roles(data, scale=scale, patch=proxy.patch, batch_size=proxy.batch_size)
    sets = {"train": roles.need("train"), "val": roles.need("val")}
    count = worker_count(workers, where)
    shown = {
        key: _name_folders(value) if key in FOLDERS else value
        for key, value in shown_settings(invocation.config).items()
        if key not in ("out", "workers", "longer_proxy")
    }
    chosen = [one for one in invocation.overrides if one.startswith("space")]
    console = Console()
    for notice in (*roles.notices, roles.lr_notice):
        console.print(notice, markup=False, highlight=False)
    trainings = len(plan.trainings())
    console.print(
        f"{len(plan.members)} members, {trainings} trainings of {proxy.steps} steps, read at "
        f"{', '.join(map(str, fidelities))}",
        highlight=False,
    )
    made = make_folders(path.parent)
    log = Log(path.with_suffix(".jsonl"), shown | {"images": roles.fingerprints})
    start, before = time.monotonic(), len(log.trained)

    def show(what: str, done: int, of: int) -> None:
        left = ""
        if what == "trained" and done > before:
            left = f", {duration((time.monotonic() - start) / (done - before) * (of - done))} left"
        console.print(f"{what} {done} of {of}{left}", highlight=False)

    with tempfile.TemporaryDirectory() as folder:
        settings = EvaluatorSettings(
            run=Path(folder),
            sets=sets,
            memory_mib=data.memory_mib / count,
            cache=data.cache,
            scale=scale,
            challenge=None,
            proxy=proxy,
            fidelities=fidelities,
            latency=latency,
            limits={},
            device=str(where),
            seed=seed,
            baseline=plan.reference,
            replay={},
        )
        try:
            tabulate(plan, log, settings, count=count, show=show)
        except ValueError:
            if not log.measured and not log.trained:  # nothing came out: nothing stays
                log.path.unlink()
                remove_folders(made)
            raise
        except KeyboardInterrupt:
            console.print(f"Stopped; what is done stands in {log.path}. The same command goes on.")
            return 130
    environment = fingerprint(where) | {"data": roles.fingerprints}
    table = finished(
        plan,
        log,
        fidelities=fidelities,
        settings=shown | {"chosen_space": " ".join(chosen) or "space=esr_bench_mini"},
        environment=environment,
    )
    table.save(path)
    log.path.unlink()
    console.print(f"{len(table.entries)} members in {path}", highlight=False)
    return 0


def _name_folders(value: str | list[str]) -> str | list[str]:
    """A folder, or each of several, by its name alone."""
    return Path(value).name if isinstance(value, str) else [Path(one).name for one in value]
