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
    nas train arch=runs/mine:front recipe=short budget_hours=8
    nas train arch=mine.yaml recipe=finetune init=weights weights=mine.pth
    nas train arch=mine.yaml recipe=spanv2 recipe.smoke=true
    nas train run=runs/my_training
    torchrun --nproc-per-node 4 -m nas train arch=mine.yaml recipe=spanv2 data=div2k

Of the processes of torchrun each trains on a GPU of its own, on its share of every batch: the
recipe's batch_size is that of all of them together, so weights do not depend on their number.
"""

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from nas.analysis.training import Trained
from nas.cli import python_values, schema
from nas.cli.composition import Stored
from nas.cli.ending import end_early
from nas.cli.exit_status import OK
from nas.cli.invocation import Invocation, UsageError
from nas.cli.overrides import parse
from nas.commands.architectures import resolve_arch, split_pick
from nas.commands.training_folder import (
    StoredArch,
    TrainingFolder,
    read_result,
    read_training,
)
from nas.commands.training_front import WORD, FrontRequest, list_members, train_front
from nas.commands.training_request import (
    Init,
    TrainingRequest,
    check_budget,
    find_source,
    resolve_spec,
)
from nas.commands.training_watch import Watcher
from nas.data.config import DataConfig
from nas.data.patches import PatchStore
from nas.data.roles import Roles, open_roles
from nas.data.sets import ImageSet
from nas.measure.device import fingerprint
from nas.measure.quality import mean_db, per_image
from nas.score import Challenge
from nas.search.config import Composed
from nas.search.store.run_folder import run_directory
from nas.search.store.run_folder.settings import hash_settings
from nas.search.store.run_folder.trained import add_trained
from nas.system.console import PlainConsole, open_console, print_lines
from nas.system.faults import ClosedOutputError, blaming_machine, describe_os_error
from nas.system.torchrun import count_processes, read_rank
from nas.train.distill.teachers import load_teacher
from nas.train.recipe.config import Recipe
from nas.train.run.beginning import Beginning, begin_fresh, begin_from
from nas.train.run.config import Outcome, TrainingConfig, Unwatched
from nas.train.run.session import TrainingSession
from nas.train.team import Team, check_shares, joining_team, pick_own_device
from nas.train.trainer import TrainingError
from nas.train.weights import weights_path
from search_spaces.spec import ArchSpec


def configure(
    *,
    run: str | None,
    arch: str,
    init: Init | None,
    weights: str | None,
    teacher: str | None,
    teacher_arch: str | None,
    hours: float | None,
    budget_hours: float | None,
    steps: int | None,
    validations: int,
    seed: int,
    device: str,
    speed: Literal["auto", "plain"],
    tensorboard: bool,
    recipe: Recipe,
    data: DataConfig,
    challenge: Challenge,
    invocation: Invocation,
) -> TrainingRequest | FrontRequest:
    """Gather the keys of `nas train`, and read the files that they name.

    Raises:
        ValueError: a value is out of its range, or names what is not there.
    """
    folder = Path(run) if run else None
    run_pick = split_pick(arch)
    is_front = run_pick is not None and run_pick[1] == WORD
    check_budget(arch, hours, budget_hours, is_front=is_front)

    # Of a front the first member's request is the pattern of all.
    members = list_members(folder, run_pick[0]) if run_pick and is_front else []
    spec = ArchSpec.from_dict(members[0].arch) if members else resolve_spec(folder, arch)
    request = TrainingRequest(
        run=folder,
        arch=arch,
        spec=spec,
        recipe=recipe if steps is None else recipe.scaled(steps),
        source=None if members else find_source(folder, arch, spec, init, weights),
        teacher=Path(teacher).expanduser() if teacher else None,
        teacher_spec=resolve_arch(teacher_arch, key="teacher_arch") if teacher_arch else None,
        hours=hours,
        steps=steps,
        validations=validations,
        seed=seed,
        device=pick_own_device(device),
        speed=speed,
        tensorboard=tensorboard,
        data=data,
        challenge=challenge,
        composed=Composed(
            config=invocation.config, choices=invocation.choices, overrides=invocation.overrides
        ),
    )
    if not run_pick or not members:
        return request
    return FrontRequest(
        search=str(run_pick[0]),
        members=members,
        each=request,
        init=init,
        weights=weights,
        budget_hours=budget_hours,
    )


def run(request: TrainingRequest | FrontRequest) -> int:
    """Train, or go on with a training, and show it in the terminal; returns the exit status."""
    if isinstance(request, FrontRequest):
        if count_processes() > 1:
            raise UsageError(
                f"arch={request.each.arch}: torchrun trains one network at a time; name a member"
            )
        return train_front(request, train_network)
    return train_network(request)


def train_network(request: TrainingRequest) -> int:
    """Train one network, or go on with its training; return the exit status."""
    console = open_console(lasts=True)
    check_shares(request.recipe, count_processes())
    with joining_team(request.device) as team:
        # The first process names the folder; the others wait here for the name.
        folder = None
        if team.is_first:
            name = f"train_{_name_arch(request.arch)}"
            folder = TrainingFolder(request.run, name=name, top=request.top)
        path = team.share(folder.path if folder else Path())
        folder = folder or TrainingFolder(path, name="", top=request.top)
        try:
            if team.is_first:
                return _train(request, folder, console, team)
            return _train_beside(request, folder, team)
        except (KeyboardInterrupt, ClosedOutputError) as stop:
            return end_early("train", stop, _describe_stop(folder))
        except TrainingError as error:
            raise ValueError(f"recipe: {error}{_describe_kept(folder)}") from error
        finally:
            if team.is_first:
                folder.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What a training needs beside its settings: images, patches, teacher, first weights."""

    roles: Roles
    patches: PatchStore
    teacher: nn.Module | None
    beginning: Beginning
    is_whole: bool

    @property
    def sets(self) -> dict[str, ImageSet]:
        return {"train": self.roles.need("train"), "val": self.roles.need("val")}


def _train(
    request: TrainingRequest, folder: TrainingFolder, console: PlainConsole, team: Team
) -> int:
    """Check, open, train and keep what came of it."""
    folder.check(request.composed.config)
    done = read_result(folder.path) if folder.resumes else None
    if team.share(done is not None) and done:
        # A stop between the two may have kept it from its trial.
        kept = _keep_beside_trial(request, folder, done)
        lines = [f"Trained already: {folder.path}", *kept, *_describe_result(folder, done)]
        print_lines(console, lines)
        return OK
    if folder.resumes and folder.read_arch().teacher != _digest_teacher(request):
        raise ValueError(
            f"teacher={request.teacher}: it is another file than run={folder.path} was started "
            "with; restore it, or start a new run"
        )

    # What cannot be had is refused before the folder is made.
    opened = _open(request, folder)
    team.wait()  # the others read the folder too, as it was
    notices = _list_notices(request, opened)
    _write_start(request, folder, opened, notices)
    print_lines(console, notices)

    state = read_training(folder.path)
    with (
        blaming_machine(f"the last checkpoint is kept: nas train {_quote_run(folder)}"),
        team.blaming_others(),
        Watcher(folder, console, state, tensorboard=request.tensorboard) as watcher,
    ):
        outcome = TrainingSession(
            _make_config(request, folder, opened),
            start=opened.beginning.make,
            teacher=opened.teacher,
            watcher=watcher,
            team=team,
        ).run()
        result = _keep_result(request, folder, outcome, opened.roles)
        watcher.write_page()
    print_lines(console, _keep_beside_trial(request, folder, result))
    print_lines(console, _describe_result(folder, result))
    return OK


def _train_beside(request: TrainingRequest, folder: TrainingFolder, team: Team) -> int:
    """Train beside the first process, which writes, validates and speaks for all."""
    if team.share(False):
        return OK  # it is trained already
    opened = _open(request, folder)
    team.wait()
    TrainingSession(
        _make_config(request, folder, opened),
        start=opened.beginning.make,
        teacher=opened.teacher,
        watcher=Unwatched(),
        team=team,
    ).run()
    return OK


def _open(request: TrainingRequest, folder: TrainingFolder) -> _Opened:
    """Open images, teacher and weights.

    Raises:
        ValueError: one cannot be had.
    """
    scale = request.spec.scale
    roles = open_roles(request.data, scale=scale, challenge=request.challenge.name)
    roles.need("val")
    teacher = None
    if request.teacher and request.recipe.needs_teacher:
        teacher = load_teacher(
            request.teacher, spec=request.teacher_spec, scale=scale, device=request.device
        )
    patches = PatchStore(
        roles.need("train"),
        seed=request.seed,
        memory_mib=request.data.memory_mib,
        cache=request.data.cache,
        progress=read_rank() == 0,
    )

    # A checkpoint has weights of its own; whether they are whole the first session found.
    if request.source is None or folder.has_begun:
        beginning = begin_fresh(request.spec, patches, seed=request.seed)
    else:
        beginning = begin_from(request.source, request.spec, patches, seed=request.seed)
    is_whole = beginning.is_whole
    if folder.resumes:
        is_whole = folder.read_arch().starts_whole
    return _Opened(
        roles=roles, patches=patches, teacher=teacher, beginning=beginning, is_whole=is_whole
    )


def _write_start(
    request: TrainingRequest, folder: TrainingFolder, opened: _Opened, notices: list[str]
) -> None:
    """Make the folder, and write what the training is."""
    folder.open(
        config=request.composed.config,
        choices=request.composed.choices,
        overrides=request.composed.overrides,
        environment={
            **fingerprint(request.device),
            "seed": request.seed,
            "data": opened.roles.fingerprints,
            "lr": opened.roles.lr_origins,
            "notices": notices,
        },
        arch=StoredArch(
            spec=request.spec.to_dict(),
            arch=request.arch,
            starts_whole=opened.is_whole,
            teacher=_digest_teacher(request),
        ),
    )


def _make_config(
    request: TrainingRequest, folder: TrainingFolder, opened: _Opened
) -> TrainingConfig:
    return TrainingConfig(
        folder=folder.path,
        spec=request.spec,
        recipe=request.recipe.without_base() if opened.is_whole else request.recipe,
        sets=opened.sets,
        patches=opened.patches,
        device=request.device,
        seed=request.seed,
        validations=request.validations,
        hours=request.hours,
        settings=hash_settings(request.composed.config),
        speed=request.speed,
    )


def _list_notices(request: TrainingRequest, opened: _Opened) -> list[str]:
    """Say what the user should know of data, weights and recipe before the first step."""
    roles, recipe = opened.roles, request.recipe
    notices = [*roles.notices, roles.lr_notice, *opened.patches.notices, *opened.beginning.notes]
    notices += recipe.describe_sources({pair.source for pair in roles.need("train").pairs})
    notices += list(dict.fromkeys(stage.lacks for stage in recipe.stages.values() if stage.lacks))
    if opened.is_whole and any(stage.base != "none" for stage in recipe.stages.values()):
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
    request: TrainingRequest, folder: TrainingFolder, result: Trained
) -> list[str]:
    """Keep weights and figures beside the trial that the architecture is a pick of.

    Returns:
        A line on it; none where the architecture is no pick, or nothing was trained in earnest.
    """
    run_pick = split_pick(request.arch)
    if run_pick is None or request.recipe.smoke:
        return []
    search = run_pick[0]
    try:
        stored = run_directory.read_environment(search).get("data", {})
        is_same = stored.get("val") == result.val
        weights = weights_path(folder.path, request.spec)
        better = add_trained(search, replace(result, on_same_val=is_same), request.spec, weights)
    except (OSError, ValueError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else str(error)
        going_on = f"nas train {_quote_run(folder)}"
        return [f"not kept beside the trial of {search} ({reason}); {going_on} tries again"]

    if better is not None:
        return [
            f"Beside its trial stays an earlier training, which came to {better.psnr_db:.3f} dB: "
            f"{better.run}"
        ]
    shown = "" if is_same else "; its val images are others than the search's, whose tables "
    shown += "" if is_same else "therefore show no trained PSNR"
    place = shlex.quote(f"run={search}")
    return [f"Kept beside its trial: nas report {place} and nas export {place} use it{shown}."]


def _describe_result(folder: TrainingFolder, result: Trained) -> list[str]:
    weights = folder.path / "weights" / f"{result.arch_id}.safetensors"
    test = "" if result.test_psnr_db is None else f", {result.test_psnr_db:.3f} dB on test"
    return [
        f"PSNR {result.psnr_db:.3f} dB on val{test}, after {result.steps:,} steps.",
        f"Weights: {weights}",
        f"Page: {folder.path / 'report.html'}",
    ]


def _describe_kept(folder: TrainingFolder) -> str:
    """Say what is kept of a training that diverged, and the way out."""
    kept = f"; the last good checkpoint is kept in {folder.path}" if folder.has_begun else ""
    return f"{kept}; lower the rates of the stage's optimizer, or set its clip"


def _describe_stop(folder: TrainingFolder) -> str:
    """Say how to go on with a training that was stopped."""
    if not folder.has_begun:
        return "Stopped before the first step; nothing is kept."
    kept = sorted((folder.path / "weights").glob("*.safetensors"))
    best = f"; the best weights so far: {kept[0]}" if kept else ""
    return f"Stopped and saved. Go on with: nas train {_quote_run(folder)}{best}"


def _quote_run(folder: TrainingFolder) -> str:
    """Return run= as a shell takes it; of a front's member that of the front."""
    return shlex.quote(f"run={folder.top or folder.path}")


def _digest_teacher(request: TrainingRequest) -> str:
    """Return the digest of the teacher's file; empty where there is none, or it is not used."""
    if request.teacher is None or not request.recipe.needs_teacher:
        return ""
    with request.teacher.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _name_arch(arch: str) -> str:
    """Return an architecture's text as a part of a folder's name."""
    last = arch.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "_", last.removesuffix(".yaml").removesuffix(".json"))[:40]
