import shutil

import pandas as pd
import pytest

from nas.analysis.columns import CONTRACT_COLUMNS
from nas.cli.door import main
from nas.search.store.journal import lock_run

MADE = ("trials.csv", "front.csv", "report.html")


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_files_are_rebuilt_as_the_search_wrote_them(tiny_run, tiny_copy, capsys):
    for name in MADE:
        (tiny_copy / name).unlink()
    assert main(["report", f"run={tiny_copy}"]) == 0
    assert contents(tiny_copy).keys() == contents(tiny_run).keys()
    for name in ("trials.csv", "front.csv", "journal.log"):
        assert (tiny_copy / name).read_bytes() == (tiny_run / name).read_bytes(), name
    page = (tiny_copy / "report.html").read_text()
    assert len(page) == pytest.approx(len((tiny_run / "report.html").read_text()), rel=0.05)
    printed = capsys.readouterr().out
    assert f"Report: {tiny_copy / 'report.html'}" in printed
    assert "2 architectures tried" in printed
    assert "best_score is refused" in " ".join(printed.split())


def test_report_works_while_a_search_is_writing(tiny_copy):
    """The lock is held, the last record is half written, a running trial's weights lie there."""
    journal, weights = tiny_copy / "journal.log", tiny_copy / "weights"
    data = journal.read_bytes() + b'{"op_code": 8, "worker'
    journal.write_bytes(data)
    rows = pd.read_csv(tiny_copy / "trials.csv")
    off_front = rows[rows["on_front"] == "no"]["arch_id"]
    for name in ("running", *off_front):
        (weights / f"{name}.safetensors").write_bytes(b"")
    before = contents(weights)
    lock = lock_run(tiny_copy)
    try:
        assert main(["report", f"run={tiny_copy}"]) == 0
    finally:
        lock.release()
    assert journal.read_bytes() == data
    assert contents(weights) == before
    pd.testing.assert_frame_equal(pd.read_csv(tiny_copy / "trials.csv"), rows)


@pytest.mark.parametrize("journal", [None, b"", b'{"op_code": 0, "wor'])
def test_a_run_without_finished_trials_gives_what_there_is(journal, tiny_run, tmp_path, capsys):
    run = tmp_path / "young"
    shutil.copytree(tiny_run / ".hydra", run / ".hydra")
    if journal is not None:
        (run / "journal.log").write_bytes(journal)
    assert main(["report", f"run={run}"]) == 0
    assert "No trial has finished yet" in capsys.readouterr().out
    names = [column.name for column in CONTRACT_COLUMNS]
    assert list(pd.read_csv(run / "trials.csv"))[: len(names)] == names
    assert len(pd.read_csv(run / "front.csv")) == 0
    assert "No trial has finished yet" in (run / "report.html").read_text()
    assert (run / "journal.log").exists() == (journal is not None)


def test_a_run_that_is_not_there_is_refused_and_not_made(tmp_path, capsys):
    (tmp_path / "killed").mkdir()  # before its configuration was written
    (tmp_path / "killed" / ".lock").touch()
    before = contents(tmp_path)
    for name in ("nowhere", "killed"):
        assert main(["report", f"run={tmp_path / name}"]) == 2
        error = capsys.readouterr().err
        assert f"run={tmp_path / name}: there is no run in this directory" in error
        assert error.count("\n") == 1
    assert contents(tmp_path) == before
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "lacks challenge, limits"), ("limits: {}\n", "lacks challenge"), ("a: [", "is no YAML")],
)
def test_a_configuration_that_is_not_whole_is_refused(text, message, tiny_copy, capsys):
    (tiny_copy / ".hydra" / "config.yaml").write_text(text)
    assert main(["report", f"run={tiny_copy}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_run_named_by_a_dot_has_the_name_of_its_folder(tiny_copy, monkeypatch):
    monkeypatch.chdir(tiny_copy)
    assert main(["report", "run=."]) == 0
    assert "<title>tiny" in (tiny_copy / "report.html").read_text()
