"""Search architectures: sample, measure, train briefly, keep the Pareto front.

Examples:
    nas search
    nas search space=spanv2 trials=100 limits.params=150e3
    nas search data=folder data.train=/data/BSDS200 data.val=/data/BSD100 data.test=/data/Set14
    nas search run=runs/mine trials=400
    nas search objectives=[psnr_gain_db,params,flops] sampler=tpe hours=8
    nas search fidelity=rungs proxy=overnight trials=60
    nas search warm_start=[runs/a,runs/b] limits.runtime_ratio=0.5
    nas search start=[published/spanf,mine.yaml,runs/a:knee,runs/b/front.csv]
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from nas.analysis.columns import GOALS, LIMITS
from nas.cli.composition import Stored
from nas.cli.invocation import Invocation, UsageError
from nas.cli.overrides import parse
from nas.cli.schema import check, plain
from nas.commands.architectures import check_members, resolve_archs, resolve_parent
from nas.data.config import DataConfig
from nas.measure.device import pick_device
from nas.measure.latency.config import LatencyConfig
from nas.record import Latency
from nas.report.page import render
from nas.report.terminal import Display, summary
from nas.score import Challenge
from nas.search.asking import Asker
from nas.search.backends.base import Backend, BackendParts, ReadingParts, Rules, TrainingParts
from nas.search.controller import Budget, Controller
from nas.search.engines.base import Engine
from nas.search.engines.tasks import started
from nas.search.feasibility import check_limits, why_empty
from nas.search.fidelity.config import FidelityConfig
from nas.search.fidelity.rungs import Rungs
from nas.search.model.acquisition import GoalWord
from nas.search.model.decisions import read_decisions
from nas.search.observer import Observer
from nas.search.samplers.base import Sampler
from nas.search.seeds import derived_seed
from nas.search.store import former, run_directory
from nas.search.store.journal import JOURNAL, RunLock, find_journal, open_storage, recover
from nas.search.store.runs import load_run, shown_settings
from nas.search.store.study import Study, StudyRules
from nas.search.warm_start import read_earlier
from nas.train.inherit.teacher import check_family
from nas.train.proxy import ProxyConfig
from search_spaces.chooser import RandomChooser, Space

INHERITED = (
    "inherit=true: candidates start from weights of this run (column inherits), so their PSNR holds more "
    "training than proxy.steps; the ladder starts fresh and does not judge that."
)
MAX_PATH = 1024  # characters of a run directory's path
NUM_TRIED = 50  # members of a space that inherit=true looks at
# The rest is what trials mean.
MAY_CHANGE = ("run", "trials", "hours", "stop", "confirm", "workers", "engine")


def stored_run(overrides: Sequence[str]) -> Stored | None:
    """What the run that is named was started with, where there is one; else None."""
    named = [override for override in overrides if override.startswith("run=")]
    if not named:
        return None
    value = parse(named[-1]).value()
    folder = Path(value if isinstance(value, str) else named[-1].partition("=")[2])
    if not run_directory.exists(folder):
        return None
    return Stored(config=checked_config(folder), choices=run_directory.stored_choices(folder))


def checked_config(folder: Path) -> dict[str, Any]:
    """The stored configuration of a run, in which nothing names what may not be built.

    Raises:
        ValueError: it cannot be read, or is not what a search of this version writes.
    """
    config = run_directory.stored_config(folder)
    try:
        checked = check(run, config, given=("invocation",))
    except UsageError as error:
        raise ValueError(
            f"run={folder}: {run_directory.CONFIG}: {error} (it was changed, or written by another version)"
        ) from None
    found: dict[str, Any] = plain(checked)
    return found


def run(
    *,
    run: str | None,
    trials: int | None,
    hours: float | None,
    stop: Literal["plateau"] | None,
    confirm: int,
    workers: int | None,
    seed: int,
    device: Literal["auto", "cpu", "cuda"],
    scale: Literal[2, 3, 4],
    objectives: list[str],
    goal: GoalWord,
    ladder_seeds: int,
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
) -> int:
    """Start or resume a search; gives the exit status."""
    budget = Budget.of(trials, hours, stop, confirm)
    _check(objectives, limits, ladder_seeds, seed)
    check_members(space)
    if time_cap is not None and not time_cap > 0:
        raise UsageError(
            f"time_cap must be above 0, got {time_cap:g}; null waits for every candidate"
        )
    where = pick_device(device)
    placement = engine.place_workers(workers, where.type)
    folder = Path(run) if run else _new_name(invocation)
    if len(str(folder)) > MAX_PATH:
        raise UsageError(
            f"run must be a path of at most {MAX_PATH} characters, got {len(str(folder))}"
        )
    resumes = run_directory.exists(folder)
    run_directory.check_own_files(folder)
    find_journal(folder)  # refused where it is no file of the run's own
    held = [name for name in former.RESULTS if (folder / name).exists()]
    if held and not resumes:
        raise UsageError(
            f"run={folder}: {held[0]} lies there without {run_directory.CONFIG}, by which it is read (a copy "
            "may have left hidden folders out); restore it, or give another name"
        )
    changes = _changes(folder, invocation.config) if resumes else ""
    if changes and former.has_trial(folder):
        raise UsageError(changes)
    used_limits = {name: limit for name, limit in limits.items() if limit is not None}
    named = [spec for text in start for spec in resolve_archs(text, key="start")]
    doubts = (
        check_limits(space, used_limits, seed=seed, also=named) if changes or not resumes else ""
    )
    if inherit and (parent or evaluator.why_not_inherit):
        other = f"parent={parent}" if parent else evaluator.why_not_inherit
        raise UsageError(
            f"inherit=true says what candidates start from, and so does {other}; leave one out"
        )
    if inherit:
        _refuse_outsiders(space, seed)
    backend = evaluator.open(
        BackendParts(
            run=folder,
            device=where,
            placement=placement,
            seed=seed,
            scale=scale,
            space=space,
            table=table,
            training=TrainingParts(
                data=data,
                proxy=proxy,
                fidelity=fidelity,
                parent=resolve_parent(parent, parent_weights, scale=scale),
                time_cap=time_cap,
            ),
            reading=ReadingParts(latency=latency, replay=_readings(replay)),
            rules=Rules(challenge=challenge, limits=used_limits, ladder_seeds=ladder_seeds),
        )
    )
    if resumes:
        changes = changes or _other_latency(folder, backend.conditions)
        changes = changes or _other_data(folder, backend.fingerprints)
        if changes and former.has_trial(folder):
            raise UsageError(changes)
    for spec in named:
        lacks = backend.lacks(spec)
        if spec.scale != scale:
            lacks = f"is of scale {spec.scale}, here it is {scale}"
        if lacks:
            raise UsageError(f"start: {spec.arch_id} {lacks}")
    earlier = read_earlier(
        [Path(one) for one in warm_start],
        config=invocation.config,
        fingerprints=backend.fingerprints,
        conditions=backend.conditions,
        scale=scale,
    )
    console = Console()

    made = former.make_folders(folder)
    lock = RunLock(folder)
    notices = [*filter(None, [doubts]), *backend.notices, *earlier.notices]
    if changes:
        notices.append(former.set_aside(folder))
    if inherit:
        notices.append(INHERITED)
    if (journal := find_journal(folder)) and (cut := recover(journal)):
        notices.append(cut)
    run_directory.create(
        folder,
        config=invocation.config,
        choices=invocation.choices,
        overrides=[o for o in invocation.overrides if not o.startswith("run=")],
        environment={
            **backend.environment,
            "seed": seed,
            "data": backend.fingerprints,
            "lr": dict(backend.lr_origins),
        },
    )
    study = Study(
        open_storage(folder / JOURNAL),
        StudyRules(
            objectives=tuple(objectives),
            limits=used_limits,
            challenge=challenge,
            baseline=backend.baseline,
            ladder_sizes=backend.ladder_sizes,
            ladder_seeds=ladder_seeds,
            num_probes=fidelity.probes,
            planned_trials=budget.trials or 200,
        ),
        read_decisions(space),
        start=[*named, *(spec for spec in earlier.fronts if not backend.lacks(spec))],
        start_inherits=0 if inherit else None,
    )
    asker = Asker(
        study,
        space,
        sampler,
        Observer(space, goal=goal, seed=derived_seed(seed, "pool"), earlier=earlier.results),
        Rungs(fidelities=backend.fidelities, probes=study.probes, least_tau=fidelity.least_tau),
        seed=seed,
        inherit=inherit,
    )

    def list_needed() -> set[str]:
        """List the arch_ids whose weights are kept: what is trained next may start from them."""
        return study.list_parents(backend.fidelities[-1]) if inherit else set()

    shown = shown_settings(invocation.config)
    files = run_directory.Files(folder, render, needed=list_needed)

    def state() -> Any:
        now = study.show(folder.resolve().name, shown, notices)
        return replace(now, lr_origins=backend.lr_origins)

    for notice in notices:
        console.print(notice, markup=False, highlight=False)
    reason = ""
    try:
        chosen = backend.engine or engine
        running_engine = started(chosen, backend.make_evaluator, placement)
        with running_engine, Display(console, known=state()) as display:

            def show(running: dict[int, str], left: float | None) -> None:
                now = state()
                display.update(now, running=running, trials_wanted=budget.trials, seconds_left=left)
                if files.stale:
                    files.update(now)

            controller = Controller(
                asker,
                chosen,
                budget,
                has_test=backend.has_test,
                show=show,
                changed=lambda: files.update(state()),
                clock=backend.clock,
            )
            reason = controller.run()
        if empty := why_empty(study.state):
            notices.append(empty)
            reason = f"{empty}; {reason}"
    except Exception:
        if (
            not resumes and not study.records and not study.ladder
        ):  # nothing came out: nothing stays
            lock.release()
            former.remove_files(folder)
            former.remove_folders(made)
        raise
    except KeyboardInterrupt:
        files.update(state(), now=True)
        console.print(
            f"Stopped; nothing that had finished is lost. Go on with: nas search run={folder}"
        )
        return 130
    finally:
        lock.release()
    files.update(state(), now=True)
    console.print(summary(state()))
    console.print(
        f"{reason[0].upper()}{reason[1:]}. Report: {folder / 'report.html'}", soft_wrap=True
    )
    return 0


def _refuse_outsiders(space: Space, seed: int) -> None:
    """Refuse a space whose members cannot start from each other's weights, as some draws of it show."""
    rng = random.Random(seed)
    for _ in range(NUM_TRIED):
        try:
            check_family(space.sample(RandomChooser(rng)))
        except ValueError as error:
            raise UsageError(
                f"inherit=true does not know every network of this space: {error}"
            ) from None


def _check(
    objectives: list[str],
    limits: Mapping[str, float | None],
    ladder_seeds: int,
    seed: int,
) -> None:
    unknown = [name for name in objectives if name not in GOALS]
    if unknown:
        raise UsageError(
            f"objectives: {', '.join(unknown)} cannot be one; choose from {', '.join(GOALS)}"
        )
    if not 1 <= len(objectives) <= 4 or len(set(objectives)) < len(objectives):
        raise UsageError(f"objectives must be one to four different columns, got {objectives}")
    if unlimited := [name for name in limits if name not in LIMITS]:
        raise UsageError(
            f"limits: {', '.join(unlimited)} cannot have one; choose from {', '.join(LIMITS)}"
        )
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise UsageError(f"limits.{name} must be above 0, got {limit:g}; null is no limit")
    if ladder_seeds < 1:
        raise UsageError(f"ladder_seeds must be at least 1, got {ladder_seeds}; 3 show the noise")
    if seed < 0:
        raise UsageError(f"seed must be at least 0, got {seed}")


def _new_name(invocation: Invocation) -> Path:
    spaces = [o.partition("=")[2] for o in invocation.overrides if o.startswith("space=")]
    space = Path(spaces[-1].strip("'")).stem if spaces else "span"  # one of ours, or a file
    return Path("runs") / f"{time.strftime('%Y%m%d_%H%M%S')}_{space}"


def _readings(replay: str | None) -> dict[str, Latency]:
    """Latencies of another run by arch_id."""
    if replay is None:
        return {}
    records = load_run(Path(replay)).records
    return {record.spec.arch_id: record.latency for record in records if record.latency}


def _changes(folder: Path, config: Mapping[str, Any]) -> str:
    """Why a run cannot go on with other settings, in words; empty: they are the same, or may change."""
    before, now = shown_settings(run_directory.stored_config(folder)), shown_settings(config)
    for key in sorted(set(before) | set(now)):
        if key.partition(".")[0] not in MAY_CHANGE and before.get(key) != now.get(key):
            return (
                f"{key}: run={folder} was started with {before.get(key)}, now it is {now.get(key)}; that "
                "would change the meaning of its trials: start a new run "
                f"(only {', '.join(MAY_CHANGE[1:])} may change)"
            )
    return ""


def _other_latency(folder: Path, conditions: Mapping[str, Any]) -> str:
    """Why a run cannot go on here, in words: its configuration may mean another device or other sizes."""
    first = next((record.latency for record in load_run(folder).records if record.latency), None)
    for name, value in conditions.items():
        if first is not None and first.conditions[name] != value:
            return (
                f"latency: the {name} of run={folder} is {first.conditions[name]}, here it would be {value}; "
                "runtimes of both never share a front: resume it where it was started, or start a new run"
            )
    return ""


def _other_data(folder: Path, fingerprints: Mapping[str, str]) -> str:
    """Why a run cannot go on with these images or this table, in words; empty: they are its own."""
    stored = run_directory.read_environment(folder).get("data", {})
    for name, found in fingerprints.items():
        if stored.get(name) == found:
            continue
        key, what = ("table", "the table") if name == "table" else (f"data.{name}", "the images")
        return (
            f"{key}: {what} of run={folder} changed since it was started "
            f"(fingerprint {stored.get(name)}, now {found}); restore it or start a new run"
        )
    return ""
