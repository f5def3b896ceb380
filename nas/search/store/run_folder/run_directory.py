"""A run directory: what lies where, written whole or not at all."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import pandas as pd

from nas.analysis.results import best_score_rows, front_table, table
from nas.analysis.run_state import Retrained, RunState
from nas.system.faults import describe_os_error
from nas.system.files.drafts import replaced
from nas.system.files.file_names import escape_name
from nas.system.files.record_file import read_records, strip_header
from nas.system.schema.plain_data import dump_plain, read_plain
from nas.system.schema.stored_schema import SchemaError, conform, read_as

T = TypeVar("T")

CONFIG = ".hydra/config.yaml"
OVERRIDES = ".hydra/overrides.yaml"  # for people to read; nothing is made from it
CHOICES = ".hydra/hydra.yaml"  # where Hydra keeps them
ENVIRONMENT = "environment.json"
JOURNAL = "journal.log"
RETRAINED = "trust.jsonl"
DERIVED = ("trials.csv", "front.csv", "report.html")  # made of the journal
NEEDED = (
    "challenge",
    "limits",
    "objectives",
    "ladder_seeds",
)  # what tables and pages are made with
NEEDED_TO_TRAIN = ("arch", "challenge", "recipe", "seed")
MIN_SECONDS = 3.0  # between two rewrites
MAX_REASON = 120  # characters of why a file could not be made
MAX_SHARE = (
    0.05  # of the time that rewrites may take: a page of 1,000 trials takes a second and more
)


def write(path: Path, text: str, *, draft_end: str = "partial") -> None:
    """Replace a file by a rename, so that a reader never sees half of it.

    Args:
        draft_end: ends the name of the draft. A search's is fixed, so a kill leaves at most one
            behind; who writes while a search may be writing needs another.
    """
    with replaced(path, path.with_name(f"{path.name}.{draft_end}")) as draft:
        draft.write_text(text, encoding="utf-8")


def create(
    run: Path,
    *,
    config: Mapping[str, Any],
    choices: Mapping[str, Any],
    overrides: Sequence[str],
    environment: Mapping[str, Any],
) -> None:
    """Make a run directory; the configuration is written last, and makes it one."""
    run.mkdir(parents=True, exist_ok=True)
    write(run / ENVIRONMENT, json.dumps(environment, indent=2, sort_keys=True) + "\n")
    if not (run / OVERRIDES).exists():  # as the run was started; the configuration alone is read
        write(run / OVERRIDES, dump_plain(list(overrides)))
    write(run / CHOICES, dump_plain({"hydra": {"runtime": {"choices": dict(choices)}}}))
    write(run / CONFIG, dump_plain(dict(config)))


def check_own_files(run: Path) -> None:
    """Refuse a run whose configuration is a link: a stranger's would be written through it.

    Raises:
        ValueError: one is.
    """
    linked = next((name for name in (".hydra", CONFIG) if (run / name).is_symlink()), None)
    if linked:
        raise ValueError(f"run={run}: {linked} is a link; a run holds its files itself")


def exists(run: Path) -> bool:
    return (run / CONFIG).is_file()


def describe_lost_config(run: Path, name: str) -> str:
    """Say that a file of a run lies there without the configuration."""
    return (
        f"run={run}: {name} lies there without {CONFIG}, by which it is read (a copy may have left "
        "hidden folders out); restore it"
    )


def stored_config(run: Path) -> dict[str, Any]:
    """The configuration of a search, as plain values.

    Raises:
        ValueError: there is no search in this directory, or its configuration is not whole or no
            plain values.
    """
    if not exists(run) and (run / JOURNAL).exists():
        raise ValueError(describe_lost_config(run, JOURNAL))
    config = read_config(run)
    if is_training(config):
        raise ValueError(
            f"run={run}: it is a training, not a search; nas train run={run} goes on with it"
        )
    _refuse_missing(run, config, NEEDED)
    return config


def stored_training(run: Path) -> dict[str, Any]:
    """The configuration of a training, as plain values.

    Raises:
        ValueError: there is no training in this directory, or its configuration is not whole or no
            plain values.
    """
    config = read_config(run)
    if not is_training(config):
        raise ValueError(
            f"run={run}: it is a search, not a training; give the training another name"
        )
    _refuse_missing(run, config, NEEDED_TO_TRAIN)
    return config


def is_training(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a training, not of a search."""
    return "recipe" in config


def holds_training(run: Path) -> bool:
    """Whether a run directory is that of a training, as far as its configuration can be read."""
    try:
        return is_training(read_config(run))
    except ValueError:
        return False


def read_config(run: Path) -> dict[str, Any]:
    """The configuration of a run of either kind, as plain values.

    Raises:
        ValueError: there is no run in this directory, or its configuration is no plain values.
    """
    if not exists(run):
        raise ValueError(
            f"run={run}: there is no run in this directory; nas search run={run} starts one"
        )
    try:
        config = read_plain(run / CONFIG)
    except ValueError as error:
        raise ValueError(f"run={run}: {CONFIG} {error}") from None
    if not isinstance(config, dict):
        _refuse_missing(run, {}, NEEDED)
    if "${" in (run / CONFIG).read_text(encoding="utf-8"):
        raise ValueError(
            f"run={run}: {CONFIG} holds a reference (${{...}}), which no run writes; restore it"
        )
    return dict(config)


def _refuse_missing(run: Path, config: Mapping[str, Any], needed: Sequence[str]) -> None:
    missing = [key for key in needed if key not in config]
    if missing:
        raise ValueError(
            f"run={run}: {CONFIG} lacks {', '.join(missing)}: it was changed since the run; "
            "restore it"
        )


def stored_choices(run: Path) -> dict[str, str]:
    """What was chosen in each group, as far as it is known: earlier versions did not write it."""
    if not (run / CHOICES).is_file():
        return {}
    try:
        found = read_as(_HydraFile, _read_data(run, CHOICES), str(run / CHOICES))
    except SchemaError as error:
        raise error.advise(f"{CHOICES} is not what a search writes; remove it") from None
    choices = found["hydra"]["runtime"]["choices"]
    return {group: choice for group, choice in choices.items() if isinstance(choice, str)}


class _Runtime(TypedDict):
    choices: dict[str, Any]


class _Hydra(TypedDict):
    runtime: _Runtime


class _HydraFile(TypedDict):
    hydra: _Hydra


class Environment(TypedDict, total=False):
    """What is read of a run's environment; the rest is for people.

    Attributes:
        data: fingerprints of the images or the table, by role.
        lr: how the LR images of each role were made, in words.
        notices: of a training, what there was to say at its start.
    """

    data: dict[str, str]
    lr: dict[str, str]
    notices: list[str]


def read_environment(run: Path) -> Environment:
    """What a run was made with: versions, device, and the fingerprints of its data.

    Raises:
        SchemaError: it is not what a search writes. ValueError: it is not there, or no JSON.
    """
    place, data = str(run / ENVIRONMENT), _read_data(run, ENVIRONMENT)
    try:
        found = conform(data, dict[str, Any], place)
        known = {name: found[name] for name in Environment.__annotations__ if name in found}
        return read_as(Environment, known, place)
    except SchemaError as error:
        raise error.advise(f"{ENVIRONMENT} is not what a search writes; restore it") from None


def read_retrained(run: Path) -> tuple[Retrained, ...]:
    """Return what was trained longer so far, of every length.

    Raises:
        DamagedFileError: a record is damaged. ValueError: it is not what nas trust writes.
    """
    return tuple(read_objects(run / RETRAINED, Retrained, writer="nas trust"))


def read_objects(path: Path, kind: type[T], *, writer: str) -> list[T]:
    """Return the records of a file as objects of a class; none where it is not there.

    Args:
        writer: the command that writes the file, for the message.
    Raises:
        DamagedFileError: a record is damaged. SchemaError: it is not what the command writes.
    """
    found = []
    for number, record in enumerate(read_records(path) if path.is_file() else ()):
        try:
            found.append(read_as(kind, strip_header(record), f"{path}, record {number}"))
        except SchemaError as error:
            raise error.advise(f"{path.name} is not what {writer} writes; remove it") from None
    return found


def _read_data(run: Path, name: str) -> Any:
    try:
        return read_plain(run / name)
    except (ValueError, FileNotFoundError) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else str(error)
        raise ValueError(f"run={run}: {name} {what}") from None


def read_lr_origins(run: Path) -> dict[str, str]:
    """How the LR images of each role were made, in words; empty for a run that does not say."""
    if not (run / ENVIRONMENT).is_file():
        return {}
    origins = read_environment(run).get("lr", {})
    return {role: words for role, words in origins.items() if words.isprintable()}


class Files:
    """Rewrites a run's tables and page as the search goes on, at most every few seconds.

    What cannot be made or written is told in `notices` and tried again: the journal holds the
    search, and these files decide nothing.

    Args:
        render: a run's state -> its page.
        needed: gives the arch_id of those whose weights are kept beside what can be picked.
    """

    def __init__(
        self, run: Path, render: Callable[[RunState], str], *, needed: Callable[[], set[str]] = set
    ) -> None:
        self.run = run
        self.render = render
        self.needed = needed
        self._written = -math.inf
        self._seconds = 0.0  # that the last rewrite took
        self.num_rewrites = 0
        self.stale = False  # the last update came too soon after a rewrite, or could not be written
        self.notices: tuple[str, ...] = ()  # on what the last rewrite could not write

    def update(self, state: RunState, *, now: bool = False) -> None:
        """Rewrite the files, where that is due."""
        start = time.monotonic()
        self.stale = not now and start - self._written < max(MIN_SECONDS, self._seconds / MAX_SHARE)
        if self.stale:
            return

        try:
            frame, members, errors = _rewrite_each(self.run, state, self.render)
            # What can be picked keeps its weights.
            picked = {*members["arch_id"], *best_score_rows(frame)["arch_id"][:1]}
            self._keep_weights(picked | self.needed(), set(frame["arch_id"]))
        except Exception as error:  # of what is derived: no fault there may end a search
            _raise_for_developers(error)
            errors = dict.fromkeys(DERIVED, error)

        self.notices = (_describe_unwritten(self.run, errors),) if errors else ()
        self.stale = bool(errors)
        self._written = time.monotonic()
        self._seconds = self._written - start
        self.num_rewrites += 1

    def _keep_weights(self, kept: set[str], known: set[str]) -> None:
        """Drop the weights of what is recorded and not kept.

        Those of a running trial stay: it is not recorded yet.
        """
        for path in (self.run / "weights").glob("*.safetensors"):
            if path.stem in known - kept:
                path.unlink(missing_ok=True)


def rewrite(
    run: Path, state: RunState, render: Callable[[RunState], str], *, draft_end: str = "partial"
) -> None:
    """Write what is made of a state: trials.csv, front.csv, report.html.

    Raises:
        Exception: one could not be made or written; all others were.
    """
    _, _, errors = _rewrite_each(run, state, render, draft_end=draft_end)
    for error in errors.values():
        raise error


def _rewrite_each(
    run: Path, state: RunState, render: Callable[[RunState], str], *, draft_end: str = "partial"
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Exception]]:
    """Write what is made of a state; return all rows, the front's, and errors by file."""
    frame = table(state)
    members = front_table(frame)
    makers: tuple[Callable[[], str], ...] = (
        lambda: csv(frame),
        lambda: csv(members),
        lambda: render(state),
    )

    # One that cannot be made or written does not keep the others from it.
    errors = {}
    for name, make in zip(DERIVED, makers, strict=True):
        try:
            write(run / name, escape_name(make()), draft_end=draft_end)
        except Exception as error:
            _raise_for_developers(error)
            errors[name] = error
    return frame, members, errors


def _describe_unwritten(run: Path, errors: Mapping[str, Exception]) -> str:
    """Return a line on files that could not be written: why, and how to make them."""
    error = next(iter(errors.values()))
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        reason = describe_os_error(error)
    return (
        f"Not written: {', '.join(errors)} ({' '.join(reason.split())[:MAX_REASON]}); "
        f"the journal holds all, and nas report run={run} makes them of it"
    )


def _raise_for_developers(error: Exception) -> None:
    """Raise an error that is ours where NAS_TRACEBACK asks for it."""
    if os.environ.get("NAS_TRACEBACK") and not isinstance(error, OSError):
        raise error


def csv(frame: pd.DataFrame) -> str:
    """CSV text whose floats read back equal."""
    return frame.to_csv(index=False, lineterminator="\n")
