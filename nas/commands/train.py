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
    nas train arch=runs/mine:front recipe=short budget_hours=8 per_device=2
    nas train arch=mine.yaml recipe=finetune init=weights weights=mine.pth
    nas train arch=mine.yaml recipe=spanv2 recipe.smoke=true
    nas train run=runs/my_training
    torchrun --nproc-per-node 4 -m nas train arch=mine.yaml recipe=spanv2 data=div2k

Of the processes of torchrun each trains on a GPU of its own, on its share of every batch: the
recipe's batch_size is that of all of them together, so weights do not depend on their number.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from nas.cli.composition import Stored
from nas.cli.ending import end_early
from nas.cli.exit_status import OK
from nas.cli.invocation import Invocation, UsageError
from nas.commands.architectures import resolve_arch, split_pick
from nas.commands.stored_runs import check_stored, find_run
from nas.commands.training.folder import (
    TrainingFolder,
    read_result,
    read_training,
)
from nas.commands.training.front import WORD, FrontRequest, list_members, train_front
from nas.commands.training.opening import (
    digest_teacher,
    list_notices,
    make_config,
    open_training,
    write_start,
)
from nas.commands.training.request import (
    Init,
    TrainingRequest,
    check_budget,
    check_lanes,
    find_source,
    resolve_spec,
)
from nas.commands.training.results import (
    describe_kept,
    describe_result,
    describe_stop,
    keep_beside_trial,
    keep_result,
    quote_run,
)
from nas.commands.training.watch import Watcher
from nas.data.config import DataConfig
from nas.score import Challenge
from nas.search.config import Composed
from nas.search.store.run_folder import run_directory
from nas.system.console import PlainConsole, open_console, print_lines
from nas.system.faults import ClosedOutputError, blaming_machine
from nas.system.torchrun import count_processes
from nas.train.recipe.config import Recipe
from nas.train.run.config import Unwatched
from nas.train.run.session import TrainingSession
from nas.train.team import Team, check_shares, joining_team, pick_own_device
from nas.train.trainer import TrainingError
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
    per_device: int,
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
    check_lanes(arch, per_device, is_front=is_front)

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
        per_device=per_device,
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
            return end_early("train", stop, describe_stop(folder))
        except TrainingError as error:
            raise ValueError(f"recipe: {error}{describe_kept(folder)}") from error
        finally:
            if team.is_first:
                folder.close()


def _train(
    request: TrainingRequest, folder: TrainingFolder, console: PlainConsole, team: Team
) -> int:
    """Check, open, train and keep what came of it."""
    folder.check(request.composed.config)
    done = read_result(folder.path) if folder.resumes else None
    if team.share(done is not None) and done:
        # A stop between the two may have kept it from its trial.
        kept = keep_beside_trial(request, folder, done)
        lines = [f"Trained already: {folder.path}", *kept, *describe_result(folder, done)]
        print_lines(console, lines)
        return OK
    if folder.resumes and folder.read_arch().teacher != digest_teacher(request):
        raise ValueError(
            f"teacher={request.teacher}: it is another file than run={folder.path} was started "
            "with; restore it, or start a new run"
        )

    # What cannot be had is refused before the folder is made.
    opened = open_training(request, folder)
    team.wait()  # the others read the folder too, as it was
    notices = list_notices(request, opened)
    write_start(request, folder, opened, notices)
    print_lines(console, notices)

    state = read_training(folder.path)
    with (
        blaming_machine(f"the last checkpoint is kept: nas train {quote_run(folder)}"),
        team.blaming_others(),
        Watcher(folder, console, state, tensorboard=request.tensorboard) as watcher,
    ):
        outcome = TrainingSession(
            make_config(request, folder, opened),
            start=opened.beginning.make,
            teacher=opened.teacher,
            watcher=watcher,
            team=team,
        ).run()
        result = keep_result(request, folder, outcome, opened.roles)
        watcher.write_page()
    print_lines(console, keep_beside_trial(request, folder, result))
    print_lines(console, describe_result(folder, result))
    return OK


def _train_beside(request: TrainingRequest, folder: TrainingFolder, team: Team) -> int:
    """Train beside the first process, which writes, validates and speaks for all."""
    if team.share(False):
        return OK  # it is trained already
    opened = open_training(request, folder)
    team.wait()
    TrainingSession(
        make_config(request, folder, opened),
        start=opened.beginning.make,
        teacher=opened.teacher,
        watcher=Unwatched(),
        team=team,
    ).run()
    return OK


# What a training was started with.


def stored_run(overrides: Sequence[str]) -> Stored | None:
    """Return what the training that is named was started with; None: there is none yet.

    Raises:
        ValueError: it cannot be read, or is none of this version.
    """
    folder = find_run(overrides)
    if folder is None:
        return None
    return Stored(
        config=check_stored(configure, folder, run_directory.stored_training(folder)),
        choices=run_directory.stored_choices(folder),
    )


def _name_arch(arch: str) -> str:
    """Return an architecture's text as a part of a folder's name."""
    last = arch.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "_", last.removesuffix(".yaml").removesuffix(".json"))[:40]
