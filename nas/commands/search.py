"""Search architectures: sample, measure, train briefly, keep the Pareto front.

Examples:
    nas search
    nas search space=spanv2 trials=100 limits.params=150e3
    nas search data=folder data.train=/data/BSDS200 data.val=/data/BSD100 data.test=/data/Set14
    nas search run=runs/mine trials=400
    nas search run=runs/mine retry=failed
    nas search objectives=[psnr_gain_db,params,flops] sampler=tpe hours=8
    nas search fidelity=rungs proxy=overnight trials=60
    nas search warm_start=[runs/a,runs/b] limits.runtime_ratio=0.5
    nas search start=[published/spanf,mine.yaml,runs/a:knee,runs/b/front.csv]
"""

import shlex
import typing
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from nas.analysis.run_state import RunState
from nas.cli import python_values, schema
from nas.cli.composition import Stored, compose_command
from nas.cli.ending import end_early
from nas.cli.exit_status import OK
from nas.cli.invocation import Invocation, UsageError, did_you_mean
from nas.commands.architectures import resolve_archs, resolve_parent
from nas.commands.stored_runs import check_stored, find_run
from nas.data.config import DataConfig
from nas.measure.device import pick_device
from nas.measure.latency.config import LatencyConfig
from nas.record import Latency
from nas.report.page import render
from nas.report.terminal import Display, summary
from nas.score import Challenge
from nas.search.backends.base import Backend, ReadingParts, TrainingParts
from nas.search.config import Budget, Composed, Execution, Goals, Prior, SearchConfig
from nas.search.engines.base import Engine
from nas.search.fidelity.config import FidelityConfig
from nas.search.model.acquisition import GoalWord
from nas.search.samplers.base import Sampler
from nas.search.samplers.random import Random
from nas.search.screen import guarded
from nas.search.session import SearchResult, SearchSession
from nas.search.store.run_folder import run_directory
from nas.search.store.run_folder.runs import load_run
from nas.search.store.run_folder.settings import LATER
from nas.system.console import open_console, print_lines
from nas.system.faults import ClosedOutputError
from nas.train.proxy import ProxyConfig
from search_spaces.chooser import Space


def configure(
    *,
    run: str | None,
    trials: int | None,
    hours: float | None,
    stop: Literal["plateau"] | None,
    confirm: int,
    retry: Literal["failed"] | None,
    workers: int | None,
    seed: int,
    device: Literal["auto", "cpu", "cuda"],
    scale: Literal[2, 3, 4],
    objectives: list[str],
    goal: GoalWord,
    ladder_seeds: int,
    ladder_long: bool,
    time_cap: float | None,
    replay: str | None,
    parent: str | None,
    parent_weights: str | None,
    inherit: bool,
    start: list[str],
    warm_start: list[str],
    limits: dict[str, float | None],
    space: Space,
    sampler: Sampler,
    proxy: ProxyConfig,
    fidelity: FidelityConfig,
    data: DataConfig,
    latency: LatencyConfig,
    challenge: Challenge,
    evaluator: Backend,
    engine: Engine,
    table: str,
    invocation: Invocation,
) -> SearchConfig:
    """Gather the keys of `nas search`, and read the files that they name.

    Raises:
        ValueError: a value is out of its range, or names what is not there.
    """
    if inherit and parent:  # before its file is looked for
        raise UsageError(
            f"inherit=true says what candidates start from, and so does parent={parent}; "
            "leave one out"
        )
    return SearchConfig(
        run=Path(run) if run else None,
        name=_name_space(invocation.overrides),
        seed=seed,
        scale=scale,
        space=space,
        sampler=sampler,
        budget=Budget.of(trials, hours, stop, confirm),
        goals=Goals(
            objectives=tuple(objectives),
            goal=goal,
            challenge=challenge,
            limits=limits,
            ladder_seeds=ladder_seeds,
            ladder_long=ladder_long,
        ),
        training=TrainingParts(
            data=data,
            proxy=proxy,
            fidelity=fidelity,
            parent=resolve_parent(parent, parent_weights, scale=scale),
            time_cap=time_cap,
        ),
        execution=Execution(
            backend=evaluator,
            engine=engine,
            workers=workers,
            device=pick_device(device),
            table=table,
        ),
        prior=Prior(
            start=[spec for text in start for spec in resolve_archs(text, key="start")],
            warm_start=[Path(earlier) for earlier in warm_start],
            inherit=inherit,
            retry=retry,
        ),
        reading=ReadingParts(latency=latency, replay=_read_latencies(replay)),
        composed=_compose_plainly(invocation),
    )


def _compose_plainly(invocation: Invocation) -> Composed:
    """Return the configuration that the run directory keeps."""
    return Composed(
        # Asked of one session: it is no part of what a run is.
        config={key: value for key, value in invocation.config.items() if key != "retry"},
        choices=invocation.choices,
        overrides=invocation.overrides,
    )


def run(config: SearchConfig) -> int:
    """Start or resume a search and show it in the terminal; returns the exit status."""
    # What is printed decides nothing: the search goes on where its output cannot be written.
    console = open_console(lasts=True)
    session = SearchSession(config, render=render, open_screen=open_display)
    end = ""
    try:
        result = session.run()
        end = _describe_end(result)
        with guarded("the summary"):
            console.print(summary(result.state))
        print_lines(console, [end])
    except (KeyboardInterrupt, ClosedOutputError) as stop:
        if not _is_begun(session):
            raise
        going_on = shlex.quote(f"run={session.config.run}")
        stopped = f"Stopped; nothing that had finished is lost. Go on with: nas search {going_on}"
        return end_early("search", stop, end or stopped)
    return OK


def _is_begun(session: SearchSession) -> bool:
    """Return whether there is a run directory to go on in."""
    return session.config.run is not None and run_directory.exists(session.config.run)


def _describe_end(result: SearchResult) -> str:
    """Say why a search has ended, and where its report is."""
    reason = f"{result.reason[0].upper()}{result.reason[1:]}"
    report = result.unwritten or f"Report: {result.folder / 'report.html'}"
    return f"{reason}. {report}"


def open_display(state: RunState) -> AbstractContextManager[Display]:
    """Print a run's notices, and open what shows it in the terminal."""
    console = open_console(lasts=True)
    print_lines(console, state.notices)
    return Display(console, known=state)


# What a run was started with.


def stored_run(overrides: Sequence[str], given: Collection[str] = ()) -> Stored | None:
    """Return what the run that is named was started with; None: there is no such run yet.

    Args:
        given: keys for which objects of Python are given.
    """
    folder = find_run(overrides)
    if folder is None:
        return None
    return Stored(
        config=read_stored_config(folder, given), choices=run_directory.stored_choices(folder)
    )


def read_stored_config(folder: Path, given: Collection[str] = ()) -> dict[str, Any]:
    """Return the stored configuration of a run, in which nothing names what may not be built.

    Raises:
        ValueError: it cannot be read, or is not what a search of this version writes.
    """
    config = run_directory.stored_config(folder)
    others = {"retry": None, **LATER} | {
        key: value for key, value in config.items() if key not in given
    }
    return check_stored(configure, folder, others, given=given)


def read_search(folder: Path, **changes: Any) -> SearchConfig:
    """Return what a run searched, as far as a network's results depend on it.

    What it was told to begin with and latencies that it replayed are left out: their files may be
    gone by now.

    Args:
        changes: other values of some keys.
    Raises:
        ValueError: there is no run, or what it was made with is not there any more.
    """
    # Networks are trained alike whoever suggested them: any sampler stands in for one of Python.
    sampler = run_directory.stored_config(folder).get("sampler")
    stand_in = {"sampler": Random()} if python_values.is_described(sampler) else {}
    config = read_stored_config(folder, given=tuple(stand_in))
    config |= {"start": [], "warm_start": [], "replay": None} | changes
    checked = schema.check(configure, config, given=("invocation", *stand_in))
    return _build_config(checked, stand_in)


# From Python.


def compose_search(*overrides: str, **values: Any) -> SearchConfig:
    """Compose a search as `nas search` does, from overrides and from values of Python.

    Args:
        overrides: as they are typed, such as "proxy.steps=400" or "space=spanv2".
        values: the same keys as keywords. A group, such as `sampler`, takes the name of one of its
            choices, a dictionary of its keys, or an object.
    Raises:
        ValueError: a key is unknown, or a value or an object is not what it takes.
    """
    hints = typing.get_type_hints(configure)
    objects = {key: value for key, value in values.items() if not python_values.is_plain(value)}
    for key, value in objects.items():
        if key not in hints:
            known = [name for name in hints if name not in ("invocation", "return")]
            raise UsageError(
                f"unknown key {key!r}: the keys of a search are {', '.join(known)}"
                + did_you_mean(key, known)
            )
        python_values.check_object(key, value, hints[key])

    for override in overrides:
        if not isinstance(override, str):
            raise UsageError(
                f"expected overrides such as 'trials=20', got a {type(override).__name__}; "
                "give objects by their key: sampler=..."
            )
    written = [
        line
        for key, value in values.items()
        if key not in objects
        for line in python_values.write_overrides(key, value)
    ]
    texts = [*overrides, *written]
    composition = compose_command("search", texts, stored=stored_run(texts, tuple(objects)))
    tree = {key: value for key, value in composition.tree.items() if key not in objects}
    checked = schema.check(configure, tree, composition.typed, given=("invocation", *objects))
    return _build_config(checked, objects, composition.overrides, composition.choices)


def _build_config(
    checked: Mapping[str, Any],
    objects: Mapping[str, Any],
    overrides: Sequence[str] = (),
    choices: Mapping[str, Any] | None = None,
) -> SearchConfig:
    """Build the parts of a checked configuration, with objects in the places of some."""
    described = {key: python_values.describe_object(value) for key, value in objects.items()}
    invocation = Invocation(
        command="search",
        overrides=tuple(overrides),
        choices={key: name for key, name in (choices or {}).items() if key not in objects},
        config=schema.plain(checked) | described,
    )
    return configure(**schema.build(checked), **objects, invocation=invocation)


def _name_space(overrides: Sequence[str]) -> str:
    """Return the name of the space that was chosen: one of ours, or a file's."""
    spaces = [text.partition("=")[2] for text in overrides if text.startswith("space=")]
    return Path(spaces[-1].strip("'")).stem if spaces else "span"


def _read_latencies(replay: str | None) -> dict[str, Latency]:
    """Read the latencies of another run, by arch_id."""
    if replay is None:
        return {}
    records = load_run(Path(replay)).records
    return {record.spec.arch_id: record.latency for record in records if record.latency}
