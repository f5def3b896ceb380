# ruff: noqa: E501 - one case a line, with its whole message
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli import catalog
from nas.cli.composition import Stored, compose_command
from nas.cli.door import main
from nas.cli.invocation import Invocation
from nas.cli.overrides import parse
from nas.commands import early, rank
from nas.score import Challenge

TABLE = "psnr_db,runtime_ms,params,flops\n26.95,5,1e5,9e9\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to stand in, with a table beside it."""
    (tmp_path / "table.csv").write_text(TABLE)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return empty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnak"], "nas: unknown command 'rnak': choose from "),
        (["rnak"], "; did you mean rank?"),
        (["rank"], "nas rank: table has to be given: table=VALUE, text (CSV file"),
        (["rank", "tabel=x"], "nas rank: unknown key 'tabel': the keys of nas rank are challenge, out, table; did you mean table?"),
        (["rank", "table=x", "space=span"], "unknown key 'space': the keys of nas rank are challenge, out, table"),
        (["rank", "table=x", "challenge.wieght.runtime=1"], "the keys of challenge are baseline, gate, name, weights; did you mean weights?"),
        (["rank", "table=x", "challenge.weights={a:1}"], "unknown key 'challenge.weights.a': the keys of challenge.weights are flops, params, runtime"),
        (["rank", "table.x=1"], "unknown key 'table.x': table holds a value, not keys"),
        (["rank", "table=x", "challenge=ntire2027"], "challenge=ntire2027: there is no challenge 'ntire2027'; choose from esr_bench_mini, ntire2024, ntire2025, ntire2026; did you mean"),
        (["rank", "table=x", "challenge=null"], "there is no challenge 'null'; choose from esr_bench_mini, ntire2024"),
        (["rank", "table=x", "challenge=ntire2024,ntire2025"], "there is no multirun: run the command once with challenge=ntire2024, then with challenge=ntire2025"),
        (["rank", "table=x", "challenge=[ntire2024,ntire2025]"], "only one challenge can be chosen, from esr_bench_mini, ntire2024, ntire2025, ntire2026"),
        (["rank", "table=x", "challenge.gate.valid_db=high"], 'nas rank: challenge.gate.valid_db: expected a number, got "high"'),
        (["rank", "table=x", "challenge.weights=5"], "challenge.weights: expected a Weights with the keys runtime, flops, params, got 5"),
        (["rank", "table=x", "challenge.weights.runtime=0.9"], "nas rank: challenge.weights: the weights of runtime, flops and params must sum to 1"),
        (["rank", "table=[1,2"], "table: cannot read [1,2; a list is [a,b]"),
        (["rank", "table=[1,2]"], "table: expected text, got [1, 2]"),
        (["rank", "table=null"], "table: expected text, got null"),
        (["rank", "table=${nowhere}"], "table: Interpolation key 'nowhere' not found"),
        (["rank", "+table=x"], "+table=x: keys are given plainly, without + or ~: table=x"),
        (["rank", "~table"], "~table: keys are given plainly, without + or ~: table=VALUE"),
        (["rank", "--table=x"], "'--table' is not a key: a key is made of names and dots; try table=x"),
        (["rank", "table"], "'table' is not of the form KEY=VALUE"),
        (["rank", "table=nowhere.csv"], "table=nowhere.csv: no such file or directory"),
        (["rank", "table=/no where (1)/a=b,c <é>.csv"], "table=/no where (1)/a=b,c <é>.csv: no such file or directory"),
        (["rank", "table=.."], "table=..: is a directory"),
        (["rank", "table=../table.csv", "out=no/x.csv"], "out=no/x.csv: there is no folder no"),
        (["rank", "--help", "challenge=x"], "there is no challenge 'x'"),
    ],
)  # fmt: skip
def test_what_the_user_did_wrong_is_one_line(arguments, message, folder, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("nas")
    assert error.count("\n") == 1
    assert error.endswith("\n")
    assert list(folder.iterdir()) == []


def test_the_installed_command_behaves_the_same(folder):
    done = subprocess.run(
        [sys.executable, "-m", "nas", "rank", "table=nowhere.csv"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "nas rank: table=nowhere.csv: no such file or directory\n",
    )
    (folder / "conf").mkdir()  # another project's configuration package
    (folder / "conf" / "__init__.py").write_text("raise SystemError")
    done = subprocess.run(
        [sys.executable, "-m", "nas", "rank", "table=../table.csv", "out=ranked.csv"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["conf", "ranked.csv"]


def test_a_closed_pipe_is_no_error(folder):
    command = f"{sys.executable} -m nas rank table=../table.csv | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141)  # it may have written all before the reader left
    assert done.stderr == ""


def test_differences_from_the_defaults_are_printed(folder, capsys):
    arguments = [
        "rank",
        "table=../table.csv",
        "challenge=ntire2026",
        "challenge.gate.valid_db=26.8",
        "out=null",
    ]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith(
        "nas rank: table=../table.csv challenge.gate.valid_db=26.8\n"
    )
    composition = compose_command(
        "rank", ["challenge=ntire2025", "challenge.weights.runtime=0.7", "table=a"]
    )
    assert composition.changed == ("challenge=ntire2025", "table=a")


def test_the_last_of_a_key_holds():
    composition = compose_command(
        "rank", ["challenge=ntire2024", "table=a", "challenge=ntire2025", "table=b"]
    )
    assert composition.tree["table"] == "b"
    assert composition.tree["challenge"]["baseline"]["name"] == "EFDN"
    assert composition.overrides == ("challenge=ntire2025", "table=b")


@pytest.mark.parametrize(
    "text",
    ["/a (1)/b", "a=b", "a,b", "x<3", "é", "it's", "a\\", "a (1)\\", r"a\'b", "#1", "a[0]", "a:b", "a b", "!x", "range(3)", 'say "x"', "~x"],
)  # fmt: skip
def test_text_arrives_as_it_was_typed(text):
    override = parse(f"table={text}")
    assert override.value() == text
    again = parse(str(override.input_line))  # what is stored can be given again
    assert again.value() == text


def test_a_home_folder_is_found_behind_the_equals_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse("table=~/a (1).csv").value() == "/home/someone/a (1).csv"


@pytest.mark.parametrize("name", ["007", "1e3", "12", "true", "1_0"])
def test_a_name_that_looks_like_a_number_stays_a_name(name, folder, monkeypatch, capsys):
    seen = []

    def run(*, table: str, out: str | None, challenge: Challenge) -> None:
        seen.append(table)

    monkeypatch.setattr(rank, "run", run)
    assert main(["rank", f"table={name}"]) == 0
    assert seen == [name]


def test_a_command_is_given_its_invocation_when_it_asks(folder, monkeypatch, capsys):
    seen = []

    def run(*, table: str, out: str | None, challenge: Challenge, invocation: Invocation) -> int:
        seen.append(invocation)
        return 3

    monkeypatch.setattr(rank, "run", run)
    assert main(["rank", "table=a (1)", "challenge=ntire2024"]) == 3
    (invocation,) = seen
    assert invocation.command == "rank"
    assert invocation.overrides == ("table='a (1)'", "challenge=ntire2024")
    assert invocation.config["table"] == "a (1)"
    assert invocation.config["challenge"]["baseline"]["params"] == 0.317e6
    assert compose_command("rank", invocation.overrides).tree == invocation.config


def test_a_command_can_start_from_a_stored_configuration(folder, monkeypatch, capsys):
    seen = []

    def run(
        *, run: str, table: str, out: str | None, challenge: Challenge, invocation: Invocation
    ) -> None:
        seen.append((table, out, challenge.baseline.name, challenge.gate.valid_db))

    stored = compose_command("rank", ["challenge=ntire2024", "table=b", "out=c"]).tree | {
        "run": "r"
    }
    monkeypatch.setattr(rank, "run", run)
    monkeypatch.setattr(
        rank,
        "stored_run",
        lambda given: Stored(config=stored, choices={"challenge": "ntire2024"}),
        raising=False,
    )
    monkeypatch.setattr(catalog, "defines", lambda command, function: function == "stored_run")
    given = ["run=r", "table=a", "challenge.gate.valid_db=27"]
    assert main(["rank", *given]) == 0
    assert main(["rank", *given, "challenge=ntire2025"]) == 0
    assert seen == [("a", "c", "RLFN", 27.0), ("a", "c", "EFDN", 27.0)]
    assert "nas rank: table=a challenge.gate.valid_db=27\n" in capsys.readouterr().out

    def refuse(given):
        raise ValueError("run=a: no such run")

    monkeypatch.setattr(rank, "stored_run", refuse)
    assert main(["rank", "run=a"]) == 2
    assert capsys.readouterr().err == "nas rank: run=a: no such run\n"


def test_our_own_bugs_are_not_hidden(folder, monkeypatch, capsys):
    def run(*, table: str, out: str | None, challenge: Challenge) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(rank, "run", run)
    with pytest.raises(KeyError, match="bug"):
        main(["rank", "table=a"])


def test_interruption_is_a_short_line(folder, monkeypatch, capsys):
    def run(*, table: str, out: str | None, challenge: Challenge) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rank, "run", run)
    assert main(["rank", "table=a"]) == 130
    assert capsys.readouterr().err == "nas rank: interrupted\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_overview_lists_every_command_with_its_line(arguments, capsys):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for command in catalog.commands():
        assert f"  {command} " in printed
        assert catalog.docstring(command).splitlines()[0] in printed


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nas 0.")


def test_help_shows_keys_defaults_comments_choices_and_examples(capsys):
    assert main(["rank", "--help"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    for part in (
        "nas rank: Rank a table",
        "table=(required) CSV file",
        "out=null CSV file to write",
        "challenge=ntire2026 esr_bench_mini",
        "ntire2024 NTIRE 2024 Efficient SR: baseline RLFN",
        "challenge.weights.runtime=0.8 share of",
        "Examples: nas rank table=results.csv",
    ):
        assert part in page
    assert main(["rank", "challenge=ntire2025", "--help"]) == 0
    assert "challenge.weights.runtime=0.7 " in capsys.readouterr().out


def test_help_and_rank_do_not_load_what_is_slow():
    code = (
        "import sys; from nas.cli.door import main; main(['--help']); main(['rank', '--help']); "
        "import nas.commands.rank; sys.exit(bool({'torch', 'pandas', 'optuna', 'plotly'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=False, env=environment
        ).returncode
        == 0
    )


RUNS = ("", "run=there", "run=new")
WRONG = [  # a typo or a wrong value, and what is said of it
    ("trails=5", "unknown key 'trails'"),
    ("limits.parms=5", "unknown key 'limits.parms'"),
    ("trials=0", "trials must be at least 1, got 0"),
    ("trials=many", 'trials: expected a whole number or null, got "many"'),
    ("trials=10,20", "there is no multirun: run the command once with trials=10"),
    ("goal=bogus", 'goal: expected one of front, score, psnr, got "bogus"'),
    ("device=tpu", 'device: expected one of auto, cpu, cuda, got "tpu"'),
    ("hours=0", "hours must be above 0, got 0.0"),
    ("confirm=-1", "confirm must be at least 0, got -1"),
    ("seed=-1", "seed must be at least 0, got -1"),
    ("time_cap=0", "time_cap must be above 0, got 0; null waits for every candidate"),
    ("ladder_seeds=0", "ladder_seeds must be at least 1, got 0"),
    ("objectives=[beauty]", "objectives: beauty cannot be one; choose from"),
    ("objectives=[params,params]", "objectives must be one to four different columns"),
    ("limits.params=-1", "limits.params must be above 0, got -1; null is no limit"),
    ("start=[bad.yaml]", "start=bad.yaml: "),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What `nas search` says of each fault and run, and whether torch was loaded by then."""
    folder = tmp_path_factory.mktemp("typos")
    (folder / "there").mkdir()
    (folder / "bad.yaml").write_text("a: 1")
    code = (
        "import sys; from nas.cli.door import main\n"
        "for line in sys.stdin.read().splitlines():\n"
        "    print(main(['search', *line.split()]), 'torch' in sys.modules, flush=True)\n"
    )
    lines = [f"{run} {fault}".strip() for run in RUNS for fault, _ in WRONG]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    told = zip(done.stdout.splitlines(), done.stderr.splitlines(), strict=True)
    return dict(zip(lines, told, strict=True))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("fault", "message"), WRONG)
def test_a_fault_is_answered_before_torch_is_loaded(answers, run, fault, message):
    status, error = answers[f"{run} {fault}".strip()]
    assert status == "2 False"
    assert error.startswith("nas search: ")
    assert message in error


@pytest.mark.parametrize("fault", [fault for fault, _ in WRONG])
def test_what_is_told_early_is_what_the_command_itself_tells(fault, folder, monkeypatch, capsys):
    """Ranges are known in two places: a search that is made from Python checks its own."""
    (folder / "bad.yaml").write_text("a: 1")
    told = []
    for check in (early.check_early, lambda *given: None):
        monkeypatch.setattr(early, "check_early", check)
        assert main(["search", fault]) == 2
        told.append(capsys.readouterr().err)
    assert told[0] == told[1]
