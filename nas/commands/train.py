"""Train a network by a recipe of stages, to weights that can be used.

A training has a run directory of its own, and goes on where it was stopped, to the same bits:
Ctrl-C saves. PSNR is validated on data.val on the way; data.test is read once, at the end. The
weights of the best validation are kept in weights/ of the run.

Of a search's pick (arch=RUN:PICK) the trained weights and figures are also kept beside its trial:
the search's report shows them, and nas export takes them.

Examples:
    nas train arch=published/span recipe=short hours=1 data=folder data.train=/data/T91 data.val=/data/Set14
    nas train arch=runs/mine:best_score recipe=default data=[div2k,lsdir] data.val=/data/valid
    nas train arch=runs/mine:best_score recipe=short init=proxy hours=0.5
    nas train arch=mine.yaml recipe=finetune init=weights weights=mine.pth
    nas train arch=mine.yaml recipe=spanv2 recipe.smoke=true
    nas train run=runs/my_training
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from nas.analysis.training import Reading, Trained, TrainingState
from nas.cli import python_values, schema
from nas.cli.composition import Stored
from nas.cli.ending import status_of
from nas.cli.exit_status import OK
from nas.cli.invocation import Invocation, UsageError
from nas.cli.overrides import parse
from nas.commands.architectures import resolve_arch, split_pick
from nas.commands.training_folder import (
    TrainingFolder,
    read_recorded_spec,
    read_result,
    read_training,
    refresh,
)
from nas.data.config import DataConfig
from nas.data.patches import PatchStore
from nas.data.roles import Roles, open_roles
from nas.measure.device import fingerprint, pick_device
from nas.measure.quality import mean_db, per_image
from nas.report.training.screen import TrainingScreen
from nas.score import Challenge
from nas.search.config import Composed
from nas.search.screen import guarded
from nas.search.store import run_directory
from nas.search.store.settings import hash_settings
from nas.search.store.trained import add_trained
from nas.system.console import PlainConsole, open_console, print_lines
from nas.system.faults import blaming_machine
from nas.system.streams import describe_os_error, drop_output, say_aside
from nas.train.distill.teachers import load_teacher
from nas.train.parent import ParentFile
from nas.train.recipe.config import Recipe, check_recipe
from nas.train.run.beginning import Beginning, begin_fresh, begin_from
from nas.train.run.plan import Segment
from nas.train.run.session import Outcome, TrainingConfig, TrainingSession
from nas.train.trainer import TrainingError
from nas.train.weights import find_spec, read_metadata, weights_path
from search_spaces.spec import ArchSpec

Init = Literal["scratch", "weights", "proxy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """A training as it is asked for, before anything is opened.

    Attributes:
        run: the run directory, a new one or one to go on with; None: a new one.
        arch: the architecture, as it was given.
        source: the weights that it starts from; None: fresh ones.
        hours, steps: that the stages are shortened to, alike; None: as long as the recipe.
    """

    run: Path | None
    arch: str
    spec: ArchSpec
    recipe: Recipe
    source: ParentFile | None
    teacher: Path | None
    teacher_spec: ArchSpec | None
    hours: float | None
    steps: int | None
    validations: int
    seed: int
    device: torch.device
    data: DataConfig
    challenge: Challenge
    composed: Composed

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("validations", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.hours is not None and not self.hours > 0:
            raise ValueError(f"hours must be above 0, got {self.hours:g}")
        check_recipe(self.recipe, self.spec.scale, has_teacher=self.teacher is not None)

    @property
    def recipe_name(self) -> str:
        return str(self.composed.choices.get("recipe", "of its own"))


def configure(
    *,
    run: str | None,
    arch: str,
    init: Init | None,
    weights: str | None,
    teacher: str | None,
    teacher_arch: str | None,
    hours: float | None,
    steps: int | None,
    validations: int,
    seed: int,
    device: str,
    recipe: Recipe,
    data: DataConfig,
    challenge: Challenge,
    invocation: Invocation,
) -> TrainingRequest:
    """Gather the keys of `nas train`, and read the files that they name.

    Raises:
        ValueError: a value is out of its range, or names what is not there.
    """
    folder = Path(run) if run else None
    spec = _resolve_spec(folder, arch)
    return TrainingRequest(
        run=folder,
        arch=arch,
        spec=spec,
        recipe=recipe if steps is None else recipe.scaled(steps),
        source=_find_source(folder, arch, spec, init, weights),
        teacher=Path(teacher).expanduser() if teacher else None,
        teacher_spec=resolve_arch(teacher_arch, key="teacher_arch") if teacher_arch else None,
        hours=hours,
        steps=steps,
        validations=validations,
        seed=seed,
        device=pick_device(device),
        data=data,
        challenge=challenge,
        composed=Composed(
            config=invocation.config, choices=invocation.choices, overrides=invocation.overrides
        ),
    )


def run(request: TrainingRequest) -> int:
    """Train, or go on with a training, and show it in the terminal; returns the exit status."""
    console = open_console(lasts=True)
    folder = TrainingFolder(request.run, name=f"train_{_name_arch(request.arch)}")
    try:
        return _train(request, folder, console)
    except (KeyboardInterrupt, BrokenPipeError) as stop:
        return _end_early(folder, console, stop)
    except TrainingError as error:
        kept = f"; the last good checkpoint is kept in {folder.path}" if folder.has_begun else ""
        raise ValueError(
            f"recipe: {error}{kept}; lower the rates of the stage's optimizer, or set its clip"
        ) from error
    finally:
        folder.close()


def _train(request: TrainingRequest, folder: TrainingFolder, console: PlainConsole) -> int:
    """Check, open, train and keep what came of it."""
    folder.check(request.composed.config)
    if folder.resumes and (done := read_result(folder.path)):
        print_lines(console, [f"Trained already: {folder.path}", *_describe_result(folder, done)])
        return OK

    # What cannot be had is refused before the folder is made.
    roles = open_roles(request.data, scale=request.spec.scale, challenge=request.challenge.name)
    sets = {"train": roles.need("train"), "val": roles.need("val")}
    teacher = None
    if request.teacher and request.recipe.needs_teacher:
        teacher = load_teacher(
            request.teacher,
            spec=request.teacher_spec,
            scale=request.spec.scale,
            device=request.device,
        )
    patches = PatchStore(
        sets["train"],
        seed=request.seed,
        memory_mib=request.data.memory_mib,
        cache=request.data.cache,
    )
    beginning = _begin(request, patches, has_begun=folder.has_begun)
    is_whole = _is_whole(request, folder, beginning)
    recipe = request.recipe.without_base() if is_whole else request.recipe

    folder.open(
        config=request.composed.config,
        choices=request.composed.choices,
        overrides=request.composed.overrides,
        environment={
            **fingerprint(request.device),
            "seed": request.seed,
            "data": roles.fingerprints,
            "lr": roles.lr_origins,
        },
        arch={"spec": request.spec.to_dict(), "arch": request.arch, "starts_whole": is_whole},
    )
    notices = [*roles.notices, roles.lr_notice, *patches.notices, *beginning.notes]
    notices += _list_notices(request, roles, is_whole)
    print_lines(console, notices)

    config = TrainingConfig(
        folder=folder.path,
        spec=request.spec,
        recipe=recipe,
        sets=sets,
        patches=patches,
        device=request.device,
        seed=request.seed,
        validations=request.validations,
        hours=request.hours,
        settings=hash_settings(request.composed.config),
    )
    state = replace(read_training(folder.path), notices=notices)
    with (
        blaming_machine(f"the last checkpoint is kept: nas train run={folder.path}"),
        _Watcher(folder, console, state) as watcher,
    ):
        outcome = TrainingSession(
            config, start=beginning.make, teacher=teacher, watcher=watcher
        ).run()
        result = _keep_result(request, folder, outcome, roles)
        watcher.write_page()
    print_lines(console, [*_keep_beside_trial(request, outcome, result, roles)])
    print_lines(console, _describe_result(folder, result))
    return OK


def _begin(request: TrainingRequest, patches: PatchStore, *, has_begun: bool) -> Beginning:
    """Return what the first stage starts from; a checkpoint has weights of its own."""
    if request.source is None or has_begun:
        return begin_fresh(request.spec, patches, seed=request.seed)
    return begin_from(request.source, request.spec, patches, seed=request.seed)


def _is_whole(request: TrainingRequest, folder: TrainingFolder, beginning: Beginning) -> bool:
    """Return whether no stage trains a residual, as the first session found."""
    return bool(folder.read_arch()["starts_whole"]) if folder.resumes else beginning.is_whole


def _list_notices(request: TrainingRequest, roles: Roles, is_whole: bool) -> list[str]:
    """Say what the user should know of the recipe before it runs."""
    recipe = request.recipe
    notices = recipe.describe_sources({pair.source for pair in roles.need("train").pairs})
    notices += list(dict.fromkeys(stage.lacks for stage in recipe.stages.values() if stage.lacks))
    if is_whole and any(stage.base != "none" for stage in recipe.stages.values()):
        notices.append(
            "weights: they are those of a whole network, so every stage trains whole images"
        )
    if request.teacher and not recipe.needs_teacher:
        notices.append("teacher: no stage of the recipe distils; it is not used")
    return notices


def _keep_result(
    request: TrainingRequest, folder: TrainingFolder, outcome: Outcome, roles: Roles
) -> Trained:
    """Read the test set, once, and keep what the training came to."""
    test = roles.get("test")
    test_db = None
    if test is not None:
        test_db = mean_db(per_image(outcome.net, test, request.device))
    result = Trained(
        arch_id=request.spec.arch_id,
        run=str(folder.path),
        recipe=request.recipe_name,
        steps=outcome.steps,
        seconds=outcome.seconds,
        psnr_db=outcome.psnr_db,
        test_psnr_db=test_db,
        val=roles.fingerprints["val"],
    )
    folder.keep_result(result)
    return result


def _keep_beside_trial(
    request: TrainingRequest, outcome: Outcome, result: Trained, roles: Roles
) -> list[str]:
    """Keep weights and figures beside the trial that the architecture is a pick of.

    Returns:
        A line on it; none where the architecture is no pick.
    """
    run_pick = split_pick(request.arch)
    if run_pick is None:
        return []
    search = run_pick[0]
    try:
        stored = run_directory.read_environment(search).get("data", {})
        is_same = stored.get("val") == roles.fingerprints["val"]
        add_trained(search, replace(result, on_same_val=is_same), request.spec, outcome.weights)
    except (OSError, ValueError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else str(error)
        return [f"not kept beside the trial of {search} ({reason}); the weights are as below"]
    return [f"Kept beside its trial: nas report run={search} and nas export run={search} use it."]


def _describe_result(folder: TrainingFolder, result: Trained) -> list[str]:
    weights = folder.path / "weights" / f"{result.arch_id}.safetensors"
    test = "" if result.test_psnr_db is None else f", {result.test_psnr_db:.3f} dB on test"
    return [
        f"PSNR {result.psnr_db:.3f} dB on val{test}, after {result.steps:,} steps.",
        f"Weights: {weights}",
        f"Page: {folder.path / 'report.html'}",
    ]


def _end_early(folder: TrainingFolder, console: PlainConsole, stop: BaseException) -> int:
    """Say how to go on with a training that was stopped; return its exit status."""
    going_on = shlex.quote(f"run={folder.path}")
    line = "Stopped before the first step; nothing is kept."
    if folder.has_begun:
        line = f"Stopped and saved. Go on with: nas train {going_on}"
        kept = sorted((folder.path / "weights").glob("*.safetensors"))
        line += f"; the best weights so far: {kept[0]}" if kept else ""

    # Whoever read the output has gone, so it is told elsewhere.
    if isinstance(stop, BrokenPipeError):
        drop_output()
        say_aside(f"nas train: nobody reads its output. {line}")
    else:
        print_lines(console, [line])
    return status_of(stop)


class _Watcher:
    """Shows a training in the terminal and on its page; neither can end it."""

    def __init__(self, folder: TrainingFolder, console: PlainConsole, state: TrainingState) -> None:
        self._folder, self._state = folder, state
        self._screen = TrainingScreen(console)

    def __enter__(self) -> "_Watcher":
        with guarded("the display"):
            self._screen.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        with guarded("the display"):
            self._screen.__exit__(*error)

    def plan(self, segments: list[Segment]) -> None:
        self._state = replace(
            self._state, stages={segment.name: segment.stage.steps for segment in segments}
        )
        self.write_page()

    def step(self, segment: Segment, done: int) -> None:
        with guarded("the display"):
            self._screen.step(segment.name, done, self._state.num_steps)

    def read(self, reading: Reading) -> None:
        self.write_page()
        with guarded("the display"):
            self._screen.read(reading, self._state)

    def write_page(self) -> None:
        with guarded("the page"):
            self._state = refresh(self._state, self._folder.path)
            self._folder.write_page(self._state)


# What a training was started with.


def stored_run(overrides: Sequence[str]) -> Stored | None:
    """Return what the training that is named was started with; None: there is none yet.

    Raises:
        ValueError: it cannot be read, or is none of this version.
    """
    named = [override for override in overrides if override.startswith("run=")]
    value = parse(named[-1]).value() if named else None
    folder = Path(value if isinstance(value, str) else named[-1].partition("=")[2])
    if not named or not run_directory.exists(folder):
        return None
    config = run_directory.stored_training(folder)
    return Stored(
        config=_check_stored(folder, config), choices=run_directory.stored_choices(folder)
    )


def _check_stored(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration, in which nothing names what may not be built."""
    try:
        python_values.refuse_objects(config)
        checked = schema.check(configure, config, given=("invocation",))
    except UsageError as error:
        raise ValueError(
            f"run={folder}: {run_directory.CONFIG}: {error} "
            "(it was changed, or written by another version)"
        ) from None
    plain: dict[str, Any] = schema.plain(checked)
    return plain


def _resolve_spec(folder: Path | None, arch: str) -> ArchSpec:
    """Return the architecture: that of a training which goes on, whatever a pick means by now."""
    if folder is not None and run_directory.exists(folder):
        run_directory.stored_training(folder)
        return read_recorded_spec(TrainingFolder(folder, name="").read_arch())
    return resolve_arch(arch)


def _find_source(
    folder: Path | None, arch: str, spec: ArchSpec, init: Init | None, weights: str | None
) -> ParentFile | None:
    """Return the weights that a training starts from; None: fresh ones.

    Raises:
        ValueError: init and weights do not go together, or a file is not there.
    """
    if init is None:
        init = "weights" if weights else "scratch"
    if init != "weights" and weights:
        raise UsageError(f"weights={weights} is for init=weights, and init is {init}")
    if init == "scratch" or (folder is not None and TrainingFolder(folder, name="").has_begun):
        return None
    if init == "weights":
        if not weights:
            raise UsageError("init=weights needs weights=FILE, .safetensors or .pth")
        return _read_source(Path(weights).expanduser(), spec)

    run_pick = split_pick(arch)
    if run_pick is None:
        raise UsageError(f"init=proxy needs arch=RUN:PICK, got arch={arch}; use init=weights")
    path = weights_path(run_pick[0], spec)
    if not path.is_file():
        raise ValueError(
            f"init=proxy: {run_pick[0]} keeps no proxy weights of {spec.arch_id}; a run keeps "
            "those of its front"
        )
    return ParentFile(spec=spec, weights=path)


def _read_source(path: Path, spec: ArchSpec) -> ParentFile:
    """Return a file of weights with its architecture: the one it names, or is recognised by.

    Raises:
        ValueError: it is of another scale, or cannot be read.
    """
    named = read_metadata(path).spec
    try:
        theirs = named or find_spec(path)
    except ValueError:
        theirs = spec  # a file without names of ours, by which it may still fit
    if theirs.scale != spec.scale:
        raise ValueError(f"weights={path} is of x{theirs.scale}, arch is of x{spec.scale}")
    return ParentFile(spec=theirs, weights=path)


def _name_arch(arch: str) -> str:
    """Return an architecture's text as a part of a folder's name."""
    last = arch.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "_", last.removesuffix(".yaml").removesuffix(".json"))[:40]
