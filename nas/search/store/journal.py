"""The journal of a run: one file, one writer, readable after any kill."""

import itertools
import json
import os
import time
import warnings
from collections.abc import Container
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.trial import FrozenTrial, TrialState

from nas.system.file_locks import FileLock, Timeout

JOURNAL = "journal.log"


class _NoLock(BaseJournalFileLock):
    """The run's lock is held by the one writer for as long as it lives; appends need none of their own."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


class _Journal(JournalFileBackend):
    """Every append is in the kernel's hands at once, so that it outlives the process.

    The disk is waited for when a trial has ended and at facts of the study. Waiting at each of a trial's
    thirty appends costs more than all else beside the trials; a power cut takes what was running at most.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with open(self._file_path, "ab") as file:
            file.write(lines)
            file.flush()
            if any("state" in log or {"study_id", "user_attr"} <= log.keys() for log in logs):
                os.fsync(file.fileno())


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


class RunLock:
    """Exclusive use of a run directory; the system frees it when the process dies.

    Raises:
        ValueError: another process is searching in this directory.
    """

    def __init__(self, run: Path) -> None:
        self._lock = FileLock(run / ".lock", blocking=False)
        try:
            with warnings.catch_warnings():  # without flock filelock takes a file of its own
                warnings.simplefilter("ignore")
                self._lock.acquire()
        except Timeout:
            raise ValueError(
                f"run={run}: another process is searching in this directory; wait for it or stop it first"
            ) from None

    def release(self) -> None:
        self._lock.release()


def recover(path: Path) -> str | None:
    """Cut a journal back to its last whole record; the tail is kept in a file beside it.

    Returns:
        one line on what was cut, None when the journal is whole.
    Raises:
        ValueError: a record before the last one is damaged.
    """
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    lines = data[:end].splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            json.loads(line)
        except ValueError:
            if number < len(lines):
                raise ValueError(
                    f"{path}: record {number} of {len(lines)} is damaged, and more follow it; "
                    "restore the file from a copy"
                ) from None
            end -= len(line)
    if end == len(data):
        return None
    tail = path.with_name(f"{path.name}.cut-{time.strftime('%Y%m%d-%H%M%S')}")
    tail.write_bytes(data[end:])
    with path.open("r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())
    return (
        f"{path}: the last record was cut off; its {len(data) - end} bytes are kept in {tail.name}"
    )


def find_journal(run: Path) -> Path | None:
    """Return a run's journal; None where it has none yet.

    Raises:
        ValueError: what lies there is no file: a pipe or a device would be read without end, and through a
            link another file would be written.
    """
    path = run / JOURNAL
    if path.is_symlink():
        raise ValueError(f"run={run}: {JOURNAL} is a link; a run holds the file itself")
    if path.exists() and not path.is_file():
        raise ValueError(f"run={run}: {JOURNAL} is no regular file; restore it from a copy")
    return path if path.exists() else None


def open_storage(path: Path, *, read_only: bool = False) -> JournalStorage:
    """Open a journal; reading alone ignores a last record that is not whole yet."""
    return _Storage(_Reader(path) if read_only else _Journal(str(path), _NoLock()))


class _Reader(BaseJournalBackend):
    """The whole records of a journal that somebody else may be writing."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self._logs = []
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            try:
                self._logs.append(json.loads(line))
            except ValueError:
                break

    def read_logs(self, log_number_from: int):  # type: ignore[no-untyped-def]
        return iter(self._logs[log_number_from:])

    def append_logs(self, logs: list[dict[str, object]]) -> None:
        raise AssertionError("this journal is opened for reading")
