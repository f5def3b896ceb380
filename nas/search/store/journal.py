"""The journal of a run: one file, one writer, readable after any kill."""

import itertools
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from nas.search.store.run_folder.run_directory import DERIVED, JOURNAL, RETRAINED
from nas.system.file_locks import SoleUse
from nas.system.files.record_file import RecordWriter

DOING = {
    "search": "searching",
    "trust": "training its front longer",
    "train": "training",
}


class _Journal(BaseJournalBackend):
    """Every append is in the kernel's hands at once, so that it outlives the process.

    The disk is waited for when a trial has ended and at facts of the study. Waiting at each of a
    trial's thirty appends costs more than all else beside the trials; a power cut takes what was
    running at most.
    """

    def __init__(self, path: Path, config: str) -> None:
        self._writer = RecordWriter(path, config)
        self._records = self._writer.take_earlier()  # not handed out yet
        self._num_handed_out = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        # This process is the one writer: what it read and wrote is all that there is. Optuna asks
        # for each record once, and keeps what it makes of it.
        records, self._records = self._records[log_number_from - self._num_handed_out :], []
        self._num_handed_out = log_number_from + len(records)
        return iter(records)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        ends = any("state" in log or {"study_id", "user_attr"} <= log.keys() for log in logs)
        self._records += map(json.loads, self._writer.append(logs, wait=ends))


class _Storage(JournalStorage):
    """Lists ended trials, which never change again, from a list of its own.

    Optuna would go through all trials at each question, some three times a proposal.
    """

    def __init__(self, backend: BaseJournalBackend) -> None:
        self._ended: dict[
            int, list[FrozenTrial]
        ] = {}  # of a study: its first trials, as far as all ended
        super().__init__(backend)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if deepcopy or states not in (None, (TrialState.WAITING,)):
            return super().get_all_trials(study_id, deepcopy, states)
        with self._thread_lock:
            self._sync_with_backend()
            ended = self._ended.setdefault(study_id, [])
            handles = self._replay_result._study_id_to_trial_ids[study_id]
            rest = [self._replay_result._trials[handle] for handle in handles[len(ended) :]]
            done = list(itertools.takewhile(lambda trial: trial.state.is_finished(), rest))
            ended.extend(done)
            if states is None:
                return [*ended, *rest[len(done) :]]
            return [trial for trial in rest if trial.state in states]


def lock_run(run: Path, use: Literal["search", "trust", "train"] = "search") -> SoleUse:
    """Take a run directory for this process alone.

    Args:
        use: what the directory is used for; two uses do not exclude each other.
    Raises:
        ValueError: another process uses this directory so.
    """
    return SoleUse(
        run / (".lock" if use == "search" else f".{use}.lock"),
        f"run={run}: another process is {DOING[use]} in this directory; wait for it or stop it "
        "first",
    )


def find_journal(run: Path) -> Path | None:
    """Return a run's journal; None where it has none yet.

    Raises:
        ValueError: what lies there is no file: a pipe or a device would be read without end, and
            through a link another file would be written. Or it is lost: what was made of it lies
            there.
    """
    path = run / JOURNAL
    made = [name for name in (*DERIVED, RETRAINED) if (run / name).exists()]
    is_empty = path.is_file() and path.stat().st_size == 0
    if made and not path.is_symlink() and (is_empty or not path.exists()):
        raise ValueError(
            f"run={run}: {JOURNAL} is {'empty' if is_empty else 'missing'}, and {made[0]} was made "
            "of it; restore it from a copy, or give another name"
        )
    if path.is_symlink():
        raise ValueError(f"run={run}: {JOURNAL} is a link; a run holds the file itself")
    if path.exists() and not path.is_file():
        raise ValueError(f"run={run}: {JOURNAL} is no regular file; restore it from a copy")
    return path if path.exists() else None


def open_storage(path: Path, *, config: str = "") -> JournalStorage:
    """Open a journal, which `recover` has gone through, to search in it.

    Args:
        config: hash of the settings that its trials are made under.
    """
    return _Storage(_Journal(path, config))


def read_storage(records: Sequence[Mapping[str, Any]]) -> JournalStorage:
    """Open the records of a journal that somebody else may be writing."""
    return _Storage(_Reader(records))


class _Reader(BaseJournalBackend):
    """Records that were read."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._records = records

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        return iter(dict(record) for record in self._records[log_number_from:])

    def append_logs(self, logs: list[dict[str, object]]) -> None:
        raise AssertionError("this journal is opened for reading")
