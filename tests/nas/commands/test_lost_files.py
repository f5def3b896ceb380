"""A run with a part missing or damaged: it is named, refused, and nothing that is there is written over."""

import random
import re
import shutil
import time

import pandas as pd
import pytest

from nas.cli.door import main

TABLE = ["evaluator=table", "space=esr_bench_mini", "challenge=esr_bench_mini", "proxy.steps=2000"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A run of twelve trials."""
    run = tmp_path_factory.mktemp("searched") / "run"
    assert main(["search", *TABLE, "trials=12", "workers=1", f"run={run}"]) == 0
    return run


@pytest.fixture
def run(searched, tmp_path):
    shutil.copytree(searched, tmp_path / "run")
    return tmp_path / "run"


def read_all(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(run, record):
    """Change one digit of a record's content."""
    journal = run / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    place = next(i for i, byte in enumerate(lines[record]) if chr(byte).isdigit())
    digit = b"1" if lines[record][place : place + 1] != b"1" else b"2"
    lines[record] = lines[record][:place] + digit + lines[record][place + 1 :]
    journal.write_bytes(b"".join(lines))
    return len(lines)


def test_a_report_of_a_damaged_journal_is_written_beside_the_runs_own(run, capsys):
    count = damage(run, 60)
    before = read_all(run)
    assert main(["report", f"run={run}"]) == 1
    assert f"record 60 is damaged, and {count - 61} good ones follow it" in " ".join(
        capsys.readouterr().out.split()
    )
    assert {path: data for path, data in read_all(run).items() if path in before} == before
    rows = pd.read_csv(run / "recovered/trials.csv")
    assert 0 < len(rows) < len(pd.read_csv(run / "trials.csv"))
    whole = pd.read_csv(run / "trials.csv").set_index("number")["arch_id"]
    assert (rows.set_index("number")["arch_id"] == whole[rows["number"]].to_numpy()).all()
    assert "record 60 is damaged" in (run / "recovered/report.html").read_text()


@pytest.mark.parametrize("record", [0, 1, 60])
@pytest.mark.parametrize("command", ["search", "trust", "export"])
def test_other_commands_refuse_a_damaged_journal(run, capsys, command, record):
    damage(run, record)
    before = read_all(run)
    options = {
        "search": ["trials=14"],
        "trust": [],
        "export": ["pick=fastest", f"out={run.parent}/out"],
    }
    assert main([command, f"run={run}", *options[command]]) == 2
    assert f"record {record} is damaged" in capsys.readouterr().err
    assert read_all(run) == before


@pytest.mark.parametrize("command", ["search", "report", "trust"])
def test_a_lost_journal_is_named(run, capsys, command):
    (run / "journal.log").unlink()
    before = read_all(run)
    assert main([command, f"run={run}"]) == 2
    assert (
        "journal.log is missing, and trials.csv was made of it; restore" in capsys.readouterr().err
    )
    assert read_all(run) == before


@pytest.mark.parametrize("command", ["search", "report", "trust"])
def test_a_configuration_of_another_run_is_named(run, capsys, command, tmp_path):
    other = tmp_path / "other"
    assert main(["search", *TABLE, "seed=5", "trials=1", f"run={other}"]) == 0
    shutil.copy(other / ".hydra/config.yaml", run / ".hydra/config.yaml")
    capsys.readouterr()
    before = read_all(run)
    assert main([command, f"run={run}"]) == 2
    assert (
        "config.yaml is not the one that journal.log was written under" in capsys.readouterr().err
    )
    assert read_all(run) == before


def test_a_digit_that_changed_anywhere_in_the_journal_is_found(run, capsys):
    """Sixty places; benchmarks/search has the whole count."""
    journal = run / "journal.log"
    data = journal.read_bytes()
    draw = random.Random(0)
    digits = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    for place in draw.sample(digits, 60):
        digit = draw.choice([d for d in b"0123456789" if d != data[place]])
        journal.write_bytes(data[:place] + bytes([digit]) + data[place + 1 :])
        assert main(["export", f"run={run}", "pick=fastest", f"out={run.parent}/out"]) == 2
        assert "is damaged" in capsys.readouterr().err


def test_two_searches_of_one_second_get_two_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "20260101_000000")
    for _ in range(2):
        assert main(["search", *TABLE, "trials=1"]) == 0
    names = ["20260101_000000_esr_bench_mini", "20260101_000000_esr_bench_mini_2"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == names
    assert all((tmp_path / "runs" / name / "front.csv").is_file() for name in names)


def test_a_search_that_is_refused_leaves_no_folder_of_its_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["search", *TABLE, "limits.params=1"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_weights_of_ones_own_is_no_new_run(tmp_path, capsys):
    own = tmp_path / "run/weights/mine.pth"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    assert main(["search", *TABLE, "trials=1", f"run={tmp_path / 'run'}"]) == 2
    assert "weights lies there without .hydra/config.yaml" in capsys.readouterr().err
    assert own.read_text() == "mine"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["weights"]


def test_a_report_of_a_journal_whose_end_is_lost_is_written_beside_the_runs_own(run, capsys):
    """Cut between two records, so that all that is left is whole."""
    journal = run / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    before = read_all(run)
    assert main(["report", f"run={run}"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "rows, and trials.csv beside it holds 13: its end is lost; restore it" in printed
    assert {path: data for path, data in read_all(run).items() if path in before} == before


def test_a_search_whose_journal_has_lost_its_end_says_so_and_keeps_the_tables(run, capsys):
    journal = run / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    tables = {
        name: (run / name).read_bytes() for name in ("trials.csv", "front.csv", "report.html")
    }
    whole = pd.read_csv(run / "trials.csv")
    assert main(["search", f"run={run}"]) == 0
    (kept,) = run.glob("lost-*")
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == tables
    line = r"journal.log gives \d+ rows, and trials.csv held 13: the journal's end is lost"
    printed = capsys.readouterr().out
    assert len(re.findall(line, printed)) == 1
    assert f"the earlier tables are kept in {kept.name}" in printed

    # What was lost comes out again, and the next session has nothing to tell.
    again = pd.read_csv(run / "trials.csv")
    pd.testing.assert_frame_equal(again[["number", "arch_id"]], whole[["number", "arch_id"]])
    assert main(["search", f"run={run}"]) == 0
    assert not re.search(line, capsys.readouterr().out)
    assert len([*run.glob("lost-*")]) == 1


@pytest.mark.parametrize("left", ["trials.csv", "front.csv", "report.html"])
def test_an_empty_journal_is_a_lost_one(run, left, capsys):
    (run / "journal.log").write_bytes(b"")
    for name in {"trials.csv", "front.csv", "report.html"} - {left}:
        (run / name).unlink()
    before = read_all(run)
    for command in (["report", f"run={run}"], ["search", *TABLE, "trials=14", f"run={run}"]):
        assert main(command) == 2
        assert f"journal.log is empty, and {left} was made of it" in capsys.readouterr().err
    assert read_all(run) == before


@pytest.mark.parametrize("garbage", [b"garbage\n", b"\n", b"\0\n", b"{}\n"])
def test_what_follows_the_last_record_is_cut_off_by_the_search_that_goes_on(run, garbage, capsys):
    with (run / "journal.log").open("ab") as file:
        file.write(garbage)
    assert main(["search", *TABLE, "trials=14", f"run={run}"]) == 0
    assert "the last record was cut off" in capsys.readouterr().out
    (kept,) = run.glob("journal.log.cut-*")
    assert kept.read_bytes() == garbage
    assert len(pd.read_csv(run / "trials.csv")) == 15


def test_a_damaged_trust_file_hinders_nothing_but_trust(run, capsys):
    (run / "trust.jsonl").write_text('{"x":1}\n')
    assert main(["report", f"run={run}"]) == 1
    assert "longer trainings are left out" in (run / "recovered" / "report.html").read_text()
    assert main(["search", *TABLE, "trials=14", f"run={run}"]) == 0
    capsys.readouterr()
