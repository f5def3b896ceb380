"""Trains all members of a search's front, one after the other, within one budget of hours."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.analysis.results import front_table, table
from nas.analysis.run_state import RunState
from nas.cli.ending import end_early
from nas.commands.training.folder import FILES, TrainingFolder, has_begun, read_result
from nas.commands.training.request import Init, TrainingRequest, find_source
from nas.commands.training.results import quote_run
from nas.commands.training.side_by_side import Job, SideBySide
from nas.search.config import Composed
from nas.search.store.run_folder import run_directory
from nas.search.store.run_folder.runs import load_run
from nas.system.console import PlainConsole, open_console, print_lines
from nas.system.files.made_folders import remove_path
from nas.system.schema.plain_data import read_plain
from nas.system.schema.stored_schema import read_as
from nas.train.run.log import read_log
from search_spaces.spec import ArchSpec

WORD = "front"  # the pick that names all members
MEMBERS = "members.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A row of the front that is trained."""

    number: int
    arch: dict[str, Any]

    @property
    def spec(self) -> ArchSpec:
        return ArchSpec.from_dict(self.arch)

    @property
    def folder(self) -> str:
        """Name of the folder of its training."""
        return f"{self.number}_{self.spec.arch_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRequest:
    """The trainings of a front as they are asked for.

    Attributes:
        search: the search's run directory, as it was given.
        members: in the order in which they are trained.
        each: the request of one of them; the others differ in architecture, folder and hours.
        weights: the file that all start from, with init=weights.
        budget_hours: of all together; None: each as long as its recipe or hours.
        per_device: trainings at a time.
    """

    search: str
    members: Sequence[Member]
    each: TrainingRequest
    init: Init | None
    weights: str | None
    budget_hours: float | None
    per_device: int


def list_members(folder: Path | None, search: Path) -> list[Member]:
    """Return the members of a front, those in most doubt first; of a folder that was begun, its own.

    Raises:
        ValueError: there is no such run, or its front is empty.
    """
    if folder is not None and (folder / MEMBERS).is_file():
        path = folder / MEMBERS
        return read_as(list[Member], read_plain(path), str(path))
    state = load_run(search)
    rows = front_table(table(state))
    if rows.empty:
        raise ValueError(f"arch={search}:{WORD}: the front of this run is empty")
    ordered = sorted(rows.to_dict("records"), key=lambda row: (-_measure_doubt(row), row["score"]))
    return [_find_member(state, int(row["number"])) for row in ordered]


def _measure_doubt(row: Mapping[Any, Any]) -> float:
    """Return 1 where a row may as well not belong to the front, 0 where it surely does."""
    probability = row["front_probability"]
    is_known = isinstance(probability, float) and not math.isnan(probability)
    return 1 - abs(2 * probability - 1) if is_known else 0.0


def _find_member(state: RunState, number: int) -> Member:
    spec = next(record.spec for record in state.records if record.number == number)
    return Member(number=number, arch=spec.to_dict())


def train_front(request: FrontRequest, train: Callable[[TrainingRequest], int]) -> int:
    """Train the members that are not trained yet; return the exit status.

    Args:
        train: trains one network and returns the exit status, which ends the rest where it is not 0.
    """
    console = open_console(lasts=True)
    top = TrainingFolder(request.each.run, name=f"train_{WORD}")
    _write_top(top, request)
    try:
        # Weights to start from that are not there are found before the first training.
        for member in request.members:
            _request_member(request, member, top.path, None)
        if request.per_device == 1:
            status = _train_in_turn(request, top, train, console)
        else:
            status = _train_side_by_side(request, top, console)
        if status:
            return status
    finally:
        _remove_unused(top, request)
    print_lines(console, [f"All members are trained: nas report run={request.search}"])
    return 0


def _train_in_turn(
    request: FrontRequest,
    top: TrainingFolder,
    train: Callable[[TrainingRequest], int],
    console: PlainConsole,
) -> int:
    for place, member in enumerate(request.members):
        hours = _share_budget(top.path, request, place)
        print_lines(console, [_describe_member(request, top.path, place, hours)])
        if status := train(_request_member(request, member, top.path, hours)):
            return status
    return 0


def _train_side_by_side(request: FrontRequest, top: TrainingFolder, console: PlainConsole) -> int:
    """Train several members at a time, each in a process of its own."""
    lanes = SideBySide(request.per_device, lambda line: print_lines(console, [line]))

    def make_job(place: int) -> Job:
        def make_request() -> TrainingRequest:
            hours = _share_budget(top.path, request, place, num_running=lanes.num_running - 1)
            print_lines(console, [_describe_member(request, top.path, place, hours)])
            return _request_member(request, request.members[place], top.path, hours)

        return Job(label=f"member {place + 1}", make_request=make_request)

    try:
        return lanes.run([make_job(place) for place in range(len(request.members))])
    except KeyboardInterrupt as stop:
        return end_early("train", stop, f"Go on with: nas train {quote_run(top)}")


def _describe_member(request: FrontRequest, top: Path, place: int, hours: float | None) -> str:
    words = f", {hours:.2f} h" if hours else ""
    folder = top / request.members[place].folder
    return f"member {place + 1} of {len(request.members)}: {folder}{words}"


def _write_top(top: TrainingFolder, request: FrontRequest) -> None:
    """Write what the trainings are, so that they go on by the folder's name alone."""
    composed = request.each.composed
    if top.resumes:
        top.check(composed.config)
        return
    members = [{"number": one.number, "arch": one.arch} for one in request.members]
    run_directory.write(top.path / MEMBERS, json.dumps(members, indent=2) + "\n")
    run_directory.create(
        top.path,
        config=composed.config,
        choices=composed.choices,
        overrides=[typed for typed in composed.overrides if not typed.startswith("run=")],
        environment={},
    )


def _remove_unused(top: TrainingFolder, request: FrontRequest) -> None:
    """Leave nothing behind where no member took a step."""
    begun = any(has_begun(top.path / member.folder) for member in request.members)
    if top.resumes or begun:
        return
    for name in (MEMBERS, *FILES):
        remove_path(top.path / name)
    top.close()


def _share_budget(
    top: Path, request: FrontRequest, place: int, *, num_running: int = 0
) -> float | None:
    """Return the hours of a member: an equal share of what those before it left.

    Args:
        num_running: members before it that train now, beside it.
    """
    if request.budget_hours is None:
        return request.each.hours
    folders = [top / member.folder for member in request.members[:place]]
    spent = sum(_count_seconds(folder) for folder in folders) / request.per_device / 3600
    # As many rounds are left as it takes to give each member that is not done a place.
    rounds = math.ceil((len(request.members) - place + num_running) / request.per_device)
    return max(request.budget_hours - spent, 0.001) / rounds


def _count_seconds(folder: Path) -> float:
    """Return how long a member has trained so far."""
    if not has_begun(folder):
        return 0.0
    if result := read_result(folder):
        return result.seconds
    _, readings = read_log(folder)
    return readings[-1].seconds if readings else 0.0


def _request_member(
    request: FrontRequest, member: Member, top: Path, hours: float | None
) -> TrainingRequest:
    """Return the request of a member; one that was begun keeps the hours that it began with."""
    arch, spec, folder = f"{request.search}:{member.number}", member.spec, top / member.folder
    if run_directory.exists(folder):
        hours = run_directory.stored_training(folder)["hours"]
    config = {
        **request.each.composed.config,
        "arch": arch,
        "run": str(folder),
        "hours": hours,
        "budget_hours": None,
    }
    return replace(
        request.each,
        run=folder,
        top=top,
        arch=arch,
        spec=spec,
        hours=hours,
        source=find_source(folder, arch, spec, request.init, request.weights),
        composed=Composed(
            config=config,
            choices=request.each.composed.choices,
            overrides=request.each.composed.overrides,
        ),
    )
