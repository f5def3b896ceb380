# ruff: noqa: E501 - one case a line, with its whole message
"""Files of strangers: spaces, architectures and downloaded runs run nothing and grow to nothing."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from nas.cli import targets
from nas.cli.door import main
from nas.commands import search
from nas.system.files.record_file import frame
from search_spaces.spaces.span import SpanSpace

CASES = Path(__file__).parents[4] / "shared" / "cases" / "z_strangers_files"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="../shared/cases is not here")
SPACE = """_target_: search_spaces.spaces.span.SpanSpace
scale: ${scale}
entry: [stem]
normalise: true
num_blocks: [1, 2]
channels: [8, 12]
block_channels: [1.0]
tail_channels: [1.0]
attention: [none]
activation: [silu]
bias: [true]
skip: [none]
taps: [all]
head: [conv]
"""
TABLE = [
    "evaluator=table",
    "space=esr_bench_mini",
    "challenge=esr_bench_mini",
    "proxy.steps=2000",
    "workers=1",
]
BOMB = "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}' if i else 'lol'] * 9)}]\n" for i in range(9))
SPEC = "scale: 4\nnormalise: false\nstem: {kind: conv, channels: 8, kernel: 3, bias: true}\nblocks: [{kind: conv, channels: 8, kernel: 3, bias: true}]\ntaps: [block1]\nfusion: {kind: conv, channels: 8, kernel: 1, bias: true}\nupsampler: {kind: pixel_shuffle, kernel: 3, bias: true}\n"


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a command that has to be refused; gives its one line. A module lies there that would leave a mark."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stranger.py").write_text("open('RAN', 'w')\nclass Space: pass\n")
    monkeypatch.syspath_prepend(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        assert main([*map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert len(error) <= 301
        assert error.rstrip("\n").isprintable()
        assert not (tmp_path / "RAN").exists()
        assert "stranger" not in sys.modules
        return error

    return run


def test_space_file_with_plain_values_is_read(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(SPACE)
    assert main(["spaces", f"space={tmp_path}/mine.yaml", "scale=2"]) == 0
    assert "4 architectures" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["spaces", "search", "tabulate"])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("search_spaces.spaces.span.SpanSpace", "os.system\ncommand: touch RAN", "space._target_: 'os.system' is not run"),
        ("search_spaces.spaces.span.SpanSpace", "stranger.Space", "space._target_: 'stranger.Space' is not run"),
        ("search_spaces.spaces.span.SpanSpace", "search_spaces.chooser.RandomChooser", "is not run"),
        ("search_spaces.spaces.span.SpanSpace", "[os.system]", "must be the name of a class"),
        ("search_spaces.spaces.span.SpanSpace", "nas.score.Gate", "expected a Space"),
        ("scale: ${scale}", "scale: {_target_: os.system, command: touch RAN}", "space.scale._target_ is not read"),
        ("scale: ${scale}", "scale: {_target_: nas.score.Weights, runtime: 1, flops: 0, params: 0}", "space.scale._target_ is not read"),
        ("[stem]", "[{_target_: os.system, command: touch RAN}]", "space.entry[0]._target_ is not read"),
        ("[stem]", "{_target_: os.system, command: touch RAN}", "space.entry._target_ is not read"),
        ("head:", "_partial_: true\nhead:", "space._partial_ is not read"),
        ("head:", "_args_: [touch RAN]\nhead:", "space._args_ is not read"),
        ("head:", "_convert_: all\nhead:", "space._convert_ is not read"),
        ("head:", "defaults: [/sampler: tpe]\nhead:", "the key defaults is not read"),
        ("head:", "hydra: {run: {dir: x}}\nhead:", "the key hydra is not read"),
        ("_target_:", "# @package _global_\n_target_:", "# @package is not read"),
        ("${scale}", "${oc.env:HOME}", "'${oc.env:HOME}' is not read"),
        ("${scale}", "${hydra:runtime.cwd}", "is not read"),
        ("${scale}", "${space.scale}", "is not read"),
        ("[silu]", "['${scale}${scale}']", "is not read"),
        ("head:", "true: 5\nhead:", "a key must be text, got true; quote it in line 14"),
        ("head:", "1: 5\nhead:", "a key must be text, got 1"),
        ("head:", "entry: [stem]\nhead:", "the key 'entry' stands there twice"),
        ("[silu]", "!!python/object/apply:os.system ['touch RAN']", "the tag tag:yaml.org,2002:python/object/apply:os.system is not read"),
        ("head:", BOMB + "x: *a8\nhead:", "holds more than 20000 values"),
        ("[silu]", "[" * 100 + "]" * 100, "nested more than 40 deep"),
        ("head:", f"x: {'y' * 300_000}\nhead:", "holds more than 256 KiB"),
        ("_target_: search_spaces.spaces.span.SpanSpace", "", "must hold the keys of a space with a _target_"),
        ("[8, 12]", "[" + "9" * 5000 + "]", "no such number"),
        ("[8, 12]", "[.inf]", "space.channels[0]: inf is not a value"),
        ("[8, 12]", "[60000]", "space.channels must be at least 1 and at most 1024, got 60000"),
        ("[1, 2]", "[1000000000]", "space.num_blocks must be at least 1 and at most 256, got 1000000000"),
    ],
)  # fmt: skip
def test_space_file_is_refused(refused, tmp_path, command, old, new, words):
    assert old in SPACE
    (tmp_path / "mine.yaml").write_text(SPACE.replace(old, new))
    out = ["out=t.parquet"] if command == "tabulate" else []
    assert words in refused(command, "space=mine.yaml", *out)
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {
        "mine.yaml",
        "stranger.py",
    }


@pytest.mark.parametrize("key", ["arch", "baseline", "start", "parent"])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("normalise: false", f"{BOMB}normalise: *a8", "holds more than 20000 values"),
        ("blocks: [", "blocks: [" + "{kind: group, blocks: [" * 12 + "]}," * 12, "blocks may hold blocks 8 deep"),
        ("blocks: [", "blocks: [" + "{kind: group, blocks: [" * 400 + "]}," * 400, "nested more than 40 deep"),
        ("channels: 8", "channels: 60000", "conv.channels must be a whole number of at least 1 and at most 1024"),
        ("kernel: 3", "kernel: 1001", "conv.kernel must be"),
        ("blocks: [", "blocks: [" + "{kind: conv, channels: 8, kernel: 3, bias: true}," * 300, "blocks must hold at most 256, got 301"),
        ("bias: true", "bias: true, windows: 99999", "conv.windows must be at most 4096"),
        ("bias: true", "bias: true, num_convs: 999", "conv.num_convs must be at most 64"),
        ("kind: conv", f"kind: {'c' * 9000}", "is not known"),
        ("scale: 4", "scale: [4]", "scale must be one of (2, 3, 4), got [4]"),
        ("normalise: false", "normalise: !!python/name:os.system", "is not read"),
    ],
)  # fmt: skip
def test_architecture_file_is_refused(refused, tmp_path, key, old, new, words):
    (tmp_path / "net.yaml").write_text(SPEC.replace(old, new, 1))
    (tmp_path / "plain.yaml").write_text(SPEC)
    command = "profile" if key in ("arch", "baseline") else "search"
    value = "[net.yaml]" if key == "start" else "net.yaml"
    other = ["measure=false", "arch=plain.yaml"] if key == "baseline" else []
    line = refused(command, *other, f"{key}={value}")
    assert words in line or "c" * 80 in line
    assert key in line


def test_network_of_too_many_parameters_is_refused(refused, tmp_path):
    """Each number is within its bounds; the network is not."""
    (tmp_path / "net.yaml").write_text(
        SPEC.replace("channels: 8, kernel: 3", "channels: 1024, kernel: 15")
    )
    assert "a super-resolution network here has at most 200,000,000" in refused(
        "profile", "arch=net.yaml"
    )


@pytest.fixture(scope="module")
def base_run(tmp_path_factory):
    """A short search over the table that ships, in a space of the user's own."""
    folder = tmp_path_factory.mktemp("downloaded")
    own = Path(__file__).parents[3] / "conf" / "space" / "esr_bench_mini.yaml"
    (folder / "mine.yaml").write_text(own.read_text())
    given = [one for one in TABLE if not one.startswith("space")]
    assert (
        main(
            [
                "search",
                *given,
                f"space={folder}/mine.yaml",
                "sampler=evolution",
                "sampler.startup=3",
                "trials=3",
                f"run={folder}/run",
            ]
        )
        == 0
    )
    return folder / "run"


@pytest.fixture
def downloaded(base_run, tmp_path):
    return shutil.copytree(base_run, tmp_path / "run")


def change(run, values):
    path = run / ".hydra" / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values, sort_keys=False))


def test_overrides_of_a_downloaded_run_are_not_read(downloaded, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (downloaded / ".hydra" / "overrides.yaml").write_text(
        "- \"start=[{_target_:os.system,command:'touch RAN'}]\"\n"
    )
    assert main(["search", "run=run", "trials=4"]) == 0
    assert main(["trust", "run=run"]) == 2  # the table holds nothing longer
    assert "overrides" not in capsys.readouterr().err
    assert not (tmp_path / "RAN").exists()


EVIL = {"_target_": "os.system", "command": "touch RAN"}


@pytest.mark.parametrize("command", ["search", "trust"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"start": [EVIL]}, "start[0]._target_ is not read"),
        ({"seed": EVIL}, "seed._target_ is not read"),
        ({"space": EVIL}, "space._target_: 'os.system' is not run"),
        ({"space": {"_target_": "stranger.Space"}}, "'stranger.Space' is not run"),
        ({"sampler": {"_target_": "nas.score.Gate", "valid_db": 1, "test_db": 1, "tolerance_db": 0, "min_gain_db": 0}}, "expected a Sampler"),
        ({"limits": {"params": EVIL}}, "limits.params._target_ is not read"),
        ({"limits": EVIL}, "limits._target_ is not read"),
        ({"seed": "x"}, "seed: expected a whole number"),
        ({"seed": None}, "seed: expected a whole number"),
        ({"future": 1}, "unknown key 'future'"),
        ({"run": "${oc.env:HOME}"}, "holds a reference"),
        ({"challenge": None}, "config.yaml"),
        ({"objectives": "x"}, "objectives"),
    ],
)  # fmt: skip
def test_configuration_of_a_downloaded_run_is_refused(refused, downloaded, command, values, words):
    change(downloaded, values)
    line = refused(command, "run=run", *(["trials=5"] if command == "search" else []))
    assert words in line
    assert "run=run" in line


@pytest.mark.parametrize("command", ["search", "trust", "report", "export", "evaluate"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "holds more than 20000 values"),
        ("a: " + "[" * 90 + "]" * 90, "nested more than 40 deep"),
        ("a: !!python/object/apply:os.system ['touch RAN']", "is not read"),
        ("[]", "lacks challenge"),
        ("challenge: 5\nlimits: 5\nobjectives: 5\nladder_seeds: 5\n", "config.yaml"),
        ("challenge: {}\nlimits: {}\nobjectives: [params]\nladder_seeds: 3\n", "config.yaml"),
    ],
)  # fmt: skip
def test_configuration_that_no_search_wrote_is_refused(refused, downloaded, command, text, words):
    (downloaded / ".hydra" / "config.yaml").write_text(text)
    line = refused(command, "arch=run:knee" if command == "evaluate" else "run=run")
    assert words in line


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("journal.log", '{"op_code": 0}\n', "journal.log: it was written by another version"),
        ("journal.log", frame({"op_code": 0, "format": 1, "config": ""}, 0).decode(), "journal.log holds what no search writes"),
        ("journal.log", "[1]\n", "journal.log: it was written by another version"),
    ],
)  # fmt: skip
def test_other_files_of_a_downloaded_run_are_refused(refused, downloaded, name, text, words):
    (downloaded / name).write_text(text)
    assert words in refused("report", "run=run")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 5000 + "\n", "trust.jsonl: record 0 is damaged"),
        (frame({"format": 1, "config": "", "number": "x"}, 0).decode(), "trust.jsonl is not what nas trust writes"),
        ("5\n", "trust.jsonl: it was written by another version"),
    ],
)  # fmt: skip
def test_bad_trainings_of_a_downloaded_run_are_reported_beside(
    downloaded, monkeypatch, capsys, text, words
):
    monkeypatch.chdir(downloaded.parent)
    assert main(["report", "run=run"]) == 0
    page = (downloaded / "report.html").read_bytes()
    (downloaded / "trust.jsonl").write_text(text)
    capsys.readouterr()
    assert main(["report", "run=run"]) == 1
    assert words in capsys.readouterr().out
    assert (downloaded / "report.html").read_bytes() == page
    assert words in (downloaded / "recovered" / "report.html").read_text()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("search", "journal.log"),
        ("report", "journal.log"),
        ("trust", "journal.log"),
        ("search", "environment.json"),
    ],
)
def test_a_file_that_is_a_pipe_is_refused_and_not_waited_for(refused, downloaded, command, name):
    (downloaded / name).unlink()
    os.mkfifo(downloaded / name)
    assert f"run=run: {name} is no regular file" in refused(command, "run=run")


def test_an_origin_of_lr_that_steers_a_terminal_is_not_shown(downloaded, capsys):
    environment = json.loads((downloaded / "environment.json").read_text())
    environment["lr"] = {"val": "exact\x1b[2J", "train": "made from HR"}
    (downloaded / "environment.json").write_text(json.dumps(environment))
    assert main(["report", f"run={downloaded}"]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out + (downloaded / "report.html").read_text()


def test_nothing_is_written_through_the_links_of_a_downloaded_run(
    refused, downloaded, tmp_path_factory
):
    victim = tmp_path_factory.mktemp("elsewhere") / "victim"
    victim.write_text("mine")
    for name in (
        "report.html.partial",
        "trials.csv.partial",
        "environment.json.partial",
        ".hydra/config.yaml.partial",
    ):
        (downloaded / name).symlink_to(victim)
    assert main(["search", f"run={downloaded}", "trials=4"]) == 0
    (downloaded / "journal.log").unlink()
    (downloaded / "journal.log").symlink_to(victim)
    assert "journal.log is a link" in refused("search", "run=run")
    assert "journal.log is a link" in refused("report", "run=run")
    assert victim.read_text() == "mine"


def test_a_folder_that_holds_a_table_of_ones_own_is_no_new_run(refused, downloaded):
    shutil.rmtree(downloaded / ".hydra")
    (downloaded / "journal.log").unlink()
    (downloaded / "trials.csv").write_text("mine")
    assert "trials.csv lies there without .hydra/config.yaml" in refused("search", "run=run")
    assert (downloaded / "trials.csv").read_text() == "mine"


def test_a_run_whose_hidden_folder_was_left_behind_is_not_new(refused, downloaded):
    before = (downloaded / "journal.log").read_bytes()
    shutil.rmtree(downloaded / ".hydra")
    assert "journal.log lies there without .hydra/config.yaml" in refused("search", "run=run")
    assert (downloaded / "journal.log").read_bytes() == before


@pytest.mark.parametrize("command", ["search", "report", "trust"])
def test_limits_of_columns_that_have_none_are_refused(refused, downloaded, command):
    change(downloaded, {"limits": {"arch": 5}})
    assert "params, flops" in refused(command, "run=run")


def test_a_challenge_whose_name_steers_a_terminal_is_refused(refused, downloaded):
    config = yaml.safe_load((downloaded / ".hydra" / "config.yaml").read_text())
    change(downloaded, {"challenge": config["challenge"] | {"name": "ours\x1b[31m"}})
    for command in ("search", "report"):
        assert "printable" in refused(command, "run=run")


def test_resumed_search_takes_what_is_stored(
    base_run, downloaded, tmp_path, monkeypatch, capsys, refused
):
    """The space came from a file that is gone; what is given again is no change."""
    monkeypatch.chdir(tmp_path)
    assert main(["search", "run=run", "trials=3"]) == 0
    assert main(["search", "run=run", "trials=3", "sampler=evolution", "workers=2"]) == 0
    assert (
        main(
            [
                "search",
                "run=run",
                "trials=3",
                "sampler.startup=3",
                "evaluator=table",
                "challenge=esr_bench_mini",
            ]
        )
        == 0
    )
    assert main(["search", "run=run", f"space={base_run.parent}/mine.yaml", "trials=3"]) == 0
    assert "sampler: run=run was started with Evolution, now it is TPE" in refused(
        "search", "run=run", "sampler=tpe"
    )
    assert "sampler.startup: run=run was started with 3, now it is 4" in refused(
        "search", "run=run", "sampler.startup=4"
    )
    (tmp_path / "mine.yaml").write_text(
        (base_run.parent / "mine.yaml").read_text().replace("[8, 12,", "[8, 10,")
    )
    assert "space.channels: run=run was started with" in refused(
        "search", "run=run", "space=mine.yaml"
    )
    assert "unknown key 'space.chanels'" in refused("search", "run=run", "space.chanels=[8]")
    assert not (downloaded / ".hydra" / "config.yaml.partial").exists()


class InstalledSpace(SpanSpace):
    """What another package offers."""


def test_class_of_an_installed_package_is_named_by_its_entry_point(
    refused, tmp_path, monkeypatch, capsys
):
    installed = tmp_path / "theirs-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    text = SPACE.replace("search_spaces.spaces.span.SpanSpace", f"{__name__}:InstalledSpace")
    (tmp_path / "mine.yaml").write_text(text)
    assert f"'{__name__}:InstalledSpace' is not run" in refused("spaces", "space=mine.yaml")
    (installed / "entry_points.txt").write_text(
        f"[{targets.ENTRY_POINTS}]\nmine = {__name__}:InstalledSpace\n"
    )
    assert main(["spaces", f"space={tmp_path}/mine.yaml"]) == 0
    assert "4 architectures" in capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(text.replace(":Installed", ".Installed"))
    assert "is not run" in refused("spaces", "space=mine.yaml")


@needs_cases
@pytest.mark.parametrize(
    "name",
    [
        "evil_space.yaml",
        "evil_space_silent.yaml",
        "bomb.yaml",
        "bomb_message.yaml",
        "space_key_true.yaml",
    ],
)
@pytest.mark.parametrize("command", ["spaces", "search"])
def test_given_space_files_are_refused(refused, name, command):
    refused(command, f"space={CASES / name}")


@needs_cases
@pytest.mark.parametrize(
    "name", ["bomb.yaml", "bomb_message.yaml", "deep400.json", "huge_arch.yaml"]
)
def test_given_architectures_are_refused(refused, name):
    refused("profile", f"arch={CASES / name}")


@needs_cases
def test_given_overrides_of_a_run_are_not_read(downloaded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CASES / "evil_overrides.yaml", downloaded / ".hydra" / "overrides.yaml")
    called = []
    monkeypatch.setattr("os.system", called.append)
    assert main(["search", "run=run", "trials=4"]) == 0
    assert search.read_stored_config(downloaded)["start"] == []
    assert main(["trust", "run=run"]) == 2
    assert called == []
