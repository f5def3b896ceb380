"""Searches that are killed, interrupted, resumed and repeated, as real processes."""

import collections
import csv
import json
import os
import random
import shutil
import signal
import time

import pytest

from nas.cli.door import main
from nas.search.store.facts import RECORD
from nas.search.store.run_folder.run_directory import JOURNAL
from tests.nas.search.sessions import PATIENCE, Session, arguments, recorded, search
from tests.once import make_once

pytestmark = pytest.mark.slow

NUM_KILLS = 6  # cuts at any write are tests/nas/search/store/test_study.py's
DECIDED_BY_OTHERS = ("on_front", "ties")


@pytest.fixture(scope="session")
def first_run(pictures, tmp_path_factory):
    """A finished search by one worker; to be read, never changed."""

    def make(folder):
        search(folder / "first", arguments(pictures, trials=6, workers=1))

    return make_once(tmp_path_factory, "first_run", make) / "first"


def csv_rows(run):
    """Number -> row of what was written for people, without what other rows decide."""
    path = run / "trials.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = {int(row["number"]): row for row in csv.DictReader(file)}
    return {
        number: {k: v for k, v in row.items() if k not in DECIDED_BY_OTHERS}
        for number, row in rows.items()
    }


def records_written(run):
    """How often each Optuna trial was given a record."""
    lines = [json.loads(line) for line in (run / JOURNAL).read_bytes().splitlines()]
    return collections.Counter(
        line["trial_id"] for line in lines if RECORD in line.get("user_attr", {})
    )


def check_finished(run, trials):
    """As checks/check_run.py demands it of numbers and counts."""
    records = recorded(run)
    assert sorted(records) == list(range(trials + 1))
    assert len({record.spec.arch_id for record in records.values()}) == trials + 1
    assert all(record.state == "complete" for record in records.values())
    assert sorted(csv_rows(run)) == list(range(trials + 1))
    assert set(records_written(run).values()) == {1}
    assert sum(records_written(run).values()) == trials
    assert (run / "report.html").exists()
    with (run / "front.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert (run / "weights" / f"{row['arch_id']}.safetensors").exists()
    assert not list(run.glob("**/*.partial"))


def wait_for_record(session, count):
    """Wait until a run holds more records than so many, or its session has ended."""
    deadline = time.monotonic() + PATIENCE
    while len(recorded(session.run)) <= count:
        if session.process.poll() is not None:
            return
        assert time.monotonic() < deadline, session.text()
        time.sleep(0.05)


def test_kills_lose_nothing_and_run_nothing_twice(pictures, tmp_path):
    """Of the whole group and of the parent alone, in turn; before there is work, in the ladder, in trials."""
    run, draw = tmp_path / "run", random.Random(7)
    trials, before, rows, kills, during_trials = 10, {}, {}, 0, 0
    while kills < NUM_KILLS:
        with Session(
            run, arguments(pictures, trials=trials, workers=1 + kills // 2 % 2)
        ) as session:
            if kills in (0, 3):  # before it has come to work
                time.sleep(draw.uniform(0.2, 3.0))
            else:
                if kills < 4:  # in the ladder, mostly
                    session.wait_for_journal(400)
                else:  # in the trials
                    wait_for_record(session, len(before))
                time.sleep(draw.uniform(0.0, 1.2))
            if session.process.poll() is not None:
                assert session.process.returncode == 0, session.text()
                trials += 4  # done before its kill: more is asked of it
                continue
            if kills % 2:
                session.kill_parent()
            else:
                session.kill_group()
        kills += 1
        after = recorded(run)
        assert {number: after[number] for number in before} == before
        written = csv_rows(run)
        assert {number: written[number] for number in rows} == rows
        assert set(written) <= set(after)
        during_trials += bool(after)
        before, rows = after, written
    search(run, arguments(pictures, trials=trials))
    final = recorded(run)
    assert {number: final[number] for number in before} == before
    check_finished(run, trials)
    assert during_trials >= 2, "the kills came too early to show anything"


def test_search_goes_on_when_a_worker_is_killed(pictures, tmp_path):
    run = tmp_path / "run"
    with Session(run, arguments(pictures, trials=5)) as session:
        for _ in range(2):
            session.wait_for_journal(3000)
            for pid in session.workers()[:1]:
                os.kill(pid, signal.SIGKILL)
        assert session.end() == 0, session.text()
    check_finished(run, 5)


def test_ctrl_c_ends_with_130_says_how_to_resume_and_resumes(pictures, tmp_path):
    run = tmp_path / "run"
    with Session(run, arguments(pictures, trials=40)) as session:
        session.wait_for_journal(6000)
        session.signal_group(signal.SIGINT)
        assert session.end() == 130, session.text()
        assert f"Go on with: nas search run={run}" in session.text()
        assert "Traceback" not in session.text()
    before = recorded(run)
    trials = max(before, default=0) + 2  # two may have been running
    search(run, [f"trials={trials}"])
    after = recorded(run)
    assert {number: after[number] for number in before} == before
    check_finished(run, trials)


def results(run):
    return [
        (number, record.spec.arch_id, record.quality.psnr_db, record.latency.ratio)
        for number, record in sorted(recorded(run).items())
    ]


def test_same_seed_with_replayed_runtimes_gives_the_same_search_also_across_a_kill(
    first_run, pictures, tmp_path
):
    """Where the killed one has found the same to the end, so would one that was left alone."""
    overrides = arguments(pictures, trials=6, workers=1, replay=first_run)
    with Session(tmp_path / "killed", overrides) as session:
        while max(recorded(tmp_path / "killed"), default=0) < 2:
            assert session.process.poll() is None, session.text()
            time.sleep(0.05)
        session.kill_parent()
    assert len(recorded(tmp_path / "killed")) < 7
    search(tmp_path / "killed", overrides)
    assert results(tmp_path / "killed") == results(first_run)


def test_data_that_are_away_for_a_while_make_no_failed_row(first_run, pictures, tmp_path):
    """Once they are back before the third try; then they stay away until the session has ended."""
    run, images, away = tmp_path / "run", tmp_path / "images", tmp_path / "away"
    shutil.copytree(pictures, images)
    overrides = arguments(images, trials=6, workers=1, replay=first_run)
    with Session(run, overrides) as session:
        wait_for_record(session, 1)
        workers = session.workers()
        images.rename(away)
        while session.process.poll() is None and session.workers() == workers:
            time.sleep(0.05)  # a worker that met the fault is replaced
        away.rename(images)
        wait_for_record(session, 2)
        images.rename(away)
        status = session.end()
        assert status in (0, 1), session.text()  # 0: all that it needed was in memory
        assert "Traceback" not in session.text()
    assert {record.state for record in recorded(run).values()} == {"complete"}
    away.rename(images)
    search(run, overrides)
    assert results(run) == results(first_run)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("space=spanv2", "space"),
        ("seed=1", "seed"),
        ("proxy.steps=3", "proxy.steps"),
        ("objectives=[psnr_gain_db,params]", "objectives"),
        ("limits.params=1e5", "limits.params"),
        ("challenge=ntire2025", "challenge"),
        ("latency.target_ci=0.5", "latency.target_ci"),
        ("data.val=null", "data.val"),
        ("scale=2", "scale"),
        ("ladder_seeds=2", "ladder_seeds"),
        ("sampler=random", "sampler"),
    ],
)
def test_resuming_refuses_what_would_change_the_meaning_of_trials(first_run, change, key, capsys):
    before = {path: path.read_bytes() for path in first_run.rglob("*") if path.is_file()}
    assert main(["search", f"run={first_run}", change]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert message.startswith(f"nas search: {key}")
    assert "start a new run" in message
    assert {path: path.read_bytes() for path in first_run.rglob("*") if path.is_file()} == before


def test_resuming_takes_the_same_overrides_again_and_more_trials(first_run, pictures, tmp_path):
    run = shutil.copytree(first_run, tmp_path / "run")
    before = results(run)
    search(run, arguments(pictures, trials=7, workers=1))
    assert results(run)[:7] == before
    check_finished(run, 7)


def test_second_search_in_the_same_directory_is_refused(pictures, tmp_path, capsys):
    run = tmp_path / "run"
    with Session(run, arguments(pictures, trials=40)) as session:
        session.wait_for_journal(1)
        assert main(["search", f"run={run}"]) == 2
        assert "another process is searching in this directory" in capsys.readouterr().err
        assert session.process.poll() is None
