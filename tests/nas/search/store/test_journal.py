import subprocess
import sys
import time

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from nas.search.store.journal import lock_run, open_storage, read_storage
from nas.search.store.run_folder.run_directory import JOURNAL, Files, write
from nas.system.files.record_file import read_records, recover
from tests.nas.search.studies import open_search, search

HOLD = "import sys, time; from pathlib import Path; from nas.search.store.journal import lock_run; "
HOLD += "lock = lock_run(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


@pytest.fixture
def journal(tmp_path):
    """A journal of a short search."""
    search(open_search(tmp_path), 2)
    return tmp_path / JOURNAL


def cut_files(journal):
    return sorted(journal.parent.glob(f"{JOURNAL}.cut-*"))


def test_whole_journal_is_left_alone(journal):
    before = journal.read_bytes()
    assert recover(journal) == ""
    assert journal.read_bytes() == before
    assert cut_files(journal) == []


@pytest.mark.parametrize("lost", [1, 2, 40])
def test_cut_journal_goes_back_to_its_last_whole_record(journal, lost):
    data = journal.read_bytes()
    journal.write_bytes(data[:-lost])
    whole = data[: data.rstrip(b"\n").rfind(b"\n") + 1]
    notice = recover(journal)
    tail = data[len(whole) : -lost]
    assert journal.read_bytes() == whole
    assert [path.read_bytes() for path in cut_files(journal)] == [tail]
    assert f"its {len(tail)} bytes are kept in {cut_files(journal)[0].name}" in notice
    assert recover(journal) == ""
    open_search(journal.parent)


@pytest.mark.parametrize("end", [b"\0" * 300 + b"\n", b"\0" * 300, b'{"op_code":6,"tri\n'])
def test_last_line_of_rubbish_is_cut(journal, end):
    """What a file system may leave after a power cut."""
    before = journal.read_bytes()
    journal.write_bytes(before + end)
    assert recover(journal) != ""
    assert journal.read_bytes() == before


def test_nothing_but_a_cut_record_leaves_an_empty_journal(tmp_path):
    journal = tmp_path / JOURNAL
    journal.write_bytes(b'{"op_code":0,"wor')
    recover(journal)
    assert journal.read_bytes() == b""
    search(open_search(tmp_path), 1)


def test_damaged_record_in_the_middle_is_refused_by_its_number(journal):
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:4], lines[4][:9] + b"\n", *lines[5:]]))
    before = journal.read_bytes()
    with pytest.raises(
        ValueError, match=rf"record 4 is damaged, and {len(lines) - 5} good ones follow it; restore"
    ):
        recover(journal)
    assert journal.read_bytes() == before
    assert cut_files(journal) == []


def test_reading_ignores_a_record_that_is_not_whole_yet(journal):
    before = journal.read_bytes()
    journal.write_bytes(before + b'{"op_code":4,"wor')
    records = read_records(journal)
    study = optuna.load_study(study_name="nas", storage=read_storage(records))
    assert len(study.get_trials(deepcopy=False)) >= 2
    with pytest.raises(AssertionError, match="opened for reading"):
        study.ask()
    assert journal.read_bytes().startswith(before)


def test_appends_are_in_the_file_at_once(tmp_path):
    """A kill takes nothing that an append has returned from."""
    asker = open_search(tmp_path)
    asker.study._study.set_user_attr("fact", 7)
    assert b'"fact":7' in (tmp_path / JOURNAL).read_bytes()


def test_lock_refuses_a_second_process_and_ends_with_its_holder(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(
            ValueError, match=r"another process is searching in this directory; wait for it"
        ):
            lock_run(tmp_path)
        holder.kill()
        holder.wait()
        lock_run(tmp_path).release()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_lock_is_free_after_release(tmp_path):
    lock = lock_run(tmp_path)
    with pytest.raises(ValueError, match="another process"):
        lock_run(tmp_path)
    lock.release()
    lock_run(tmp_path).release()


def test_files_are_rewritten_whole_and_rarely(tmp_path, monkeypatch):
    asker = open_search(tmp_path)
    search(asker, 2)
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    files = Files(tmp_path, lambda state: f"{len(state.records)} rows")
    state = asker.study.show("run", {})
    for _ in range(50):
        clock[0] += 0.1
        files.update(state)
    assert 1 <= files.num_rewrites <= 2
    assert files.stale
    files.update(state, now=True)
    assert not files.stale
    assert files.num_rewrites <= 3
    assert (tmp_path / "report.html").read_text() == "3 rows"
    assert not list(tmp_path.glob("*.partial"))


def test_rewrites_that_take_long_come_less_often(tmp_path, monkeypatch):
    asker = open_search(tmp_path)
    search(asker, 1)
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def render(state):
        clock[0] += 2.0
        return ""

    files = Files(tmp_path, render)
    while clock[0] < 400:
        clock[0] += 0.5
        files.update(asker.study.show("run", {}))
    assert 5 <= files.num_rewrites <= 8  # 2 seconds each, at most a twentieth of 300


def test_file_stays_as_it_was_when_writing_fails(tmp_path, monkeypatch):
    write(tmp_path / "trials.csv", "old")
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "trials.csv", "\ud800")
    assert (tmp_path / "trials.csv").read_text() == "old"


def test_trials_are_listed_as_optuna_lists_them_while_they_end_out_of_order(tmp_path):
    storage = open_storage(tmp_path / JOURNAL)
    study = optuna.create_study(storage=storage)

    def compare():
        for states in (None, (TrialState.WAITING,), (TrialState.COMPLETE,), (TrialState.RUNNING,)):
            found = storage.get_all_trials(study._study_id, deepcopy=False, states=states)
            assert found == JournalStorage.get_all_trials(storage, study._study_id, False, states)

    open_ones = []
    for place in range(12):
        if place % 5 == 4:
            study.enqueue_trial({"x": place})
            compare()
        trial = study.ask()
        compare()
        open_ones.append((trial, trial.suggest_int("x", 0, 20)))
        if place % 3 == 2:
            one, value = open_ones.pop(1)
            study.tell(one, value)
            compare()
    for one, _ in open_ones:
        study.tell(one, state=TrialState.FAIL)
    compare()
    assert len(study.get_trials(deepcopy=False)) == 12
