# ruff: noqa: E501 - one case a line, with its whole message
"""What users of Hydra type out of habit: one line with the form that works here."""

import pytest

from nas.cli.door import main
from nas.cli.invocation import UsageError


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert len(error) <= 301
        assert error.rstrip("\n").isprintable()
        assert list(tmp_path.iterdir()) == []
        return error

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "trials=10,20"], "-m: there is no multirun: run the command once with trials=10, then with trials=20"),
        (["trials=10,20", "-m"], "run the command once with trials=10, then with trials=20"),
        (["--multirun", "sampler=tpe,nsga2"], "run the command once with sampler=tpe, then with sampler=nsga2"),
        (["--multirun"], "there is no multirun: run the command once with KEY=A, then with KEY=B"),
        (["trials=10,20"], 'trials: expected a whole number or null, got "10,20"; there is no multirun: run the command once with trials=10, then'),
        (["sampler=tpe,nsga2"], "there is no multirun: run the command once with sampler=tpe, then with sampler=nsga2"),
        (["space.channels=16,24"], "space.channels: expected a list like [a,b]"),
        (["data=div2k,lsdir"], "several are chosen as data=[div2k,lsdir]"),
        (["--trials", "5"], "'--trials' is not a key: a key is made of names and dots; try trials=5"),
        (["--trials=5"], "try trials=5"),
        (["--ladder-seeds=5"], "try ladder_seeds=5"),
        (["--trails=5"], "'--trails' is not a key: a key is made of names and dots; did you mean trials?"),
        (["--zzz", "5"], "'--zzz' is not a key: a key is made of names and dots\n"),
        (["trials", "5"], "'trials' is not of the form KEY=VALUE; try trials=5"),
        (["zzz", "5"], "'zzz' is not of the form KEY=VALUE\n"),
        (["+trials=5"], "+trials=5: keys are given plainly, without + or ~: trials=5"),
        (["++trials=5"], "++trials=5: keys are given plainly, without + or ~: trials=5"),
        (["+zzz=5"], "+zzz=5: keys are given plainly, without + or ~\n"),
        (["~trials"], "~trials: keys are given plainly, without + or ~: trials=VALUE"),
        (["-c", "job"], "-c: is Hydra's; nas search --help shows the keys and their values"),
        (["--cfg", "job"], "--cfg: is Hydra's; nas search --help"),
        (["--config-name=mine"], "--config-name: is Hydra's; the configuration is changed by KEY=VALUE alone"),
        (["--config-dir", "x"], "--config-dir: is Hydra's"),
        (["hydra.run.dir=x"], "unknown key 'hydra.run.dir'"),
        (["hydra/launcher=joblib"], "unknown key"),
    ],
)  # fmt: skip
def test_habit_is_answered_with_the_form_that_works(told, arguments, words):
    assert words in told("search", *arguments)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("run=${oc.env:HOME}", "run: '${oc.env:HOME}' is not read; a reference is the name of a key"),
        ("run='a (${oc.env:HOME})'", "is not read"),
        ("run=a (${oc.env:HOME})", "is not read"),
        ("start=[a,'${hydra:runtime.cwd}']", "is not read"),
        ("limits={params:'${oc.decode:1}'}", "is not read"),
        ("run=${.seed}", "is not read"),
        ("start=" + "[" * 10_000, "start: brackets are nested more than 20 deep"),
        ("start=[" + "a," * 20_000 + "a]", "start: a value is at most 8192 characters, got 40003"),
        ("hours=1e999", "hours: inf is not a value; a number must be finite"),
        ("trials=" + "9" * 400, "trials: a number of 1329 bits is too large"),
        ("trials=" + "9" * 5000, "trials: 999"),
        ("hours=" + "9" * 400, "too large"),
        ("seed=99999999999999999999", "seed: 99999999999999999999 is too large"),
        ("run=a\0b", "run: 'a\\x00b' holds what is no text in UTF-8"),
        ("run=a\udce9b", "run: 'a\\udce9b' holds what is no text"),
        ("space=\x1b[31mred", "\\x1b[31mred"),
        ("trials=\u202e5", "\\u202e5"),
        ("a\nb=5", "'a\\nb' is not a key"),
        ("space._target_=os.system", "space._target_: 'os.system' is not run"),
        ("space._target_=5", "space._target_ must be the name of a class, got 5"),
        ("space._target_=[a]", "space._target_ must be the name of a class, got ['a']"),
        ("space._target_=null", "space._target_ must be the name of a class, got None"),
        ("space={_target_:os.system,command:x}", "there is no space"),
        ("limits={_target_:os.system,command:x}", "unknown key 'limits._target_'"),
        ("start=[{_target_:os.system,command:x}]", "start[0]._target_ is not read: expected text in start[0]"),
        ("trials={_target_:nas.score.Gate}", "unknown key 'trials._target_'"),
        ("space=../commands/search", "there is no space '../commands/search'"),
        ("x" * 5000 + "=1", "unknown key 'xxx"),
        ("sampler=" + "x" * 5000, "there is no sampler 'xxx"),
    ],
)  # fmt: skip
def test_value_that_no_reader_should_see_is_one_line(told, argument, words):
    assert words in told("search", argument)


def test_reference_to_a_key_is_resolved_but_not_one_to_a_reference(told, tmp_path):
    assert "run: ${out} is itself given as a reference" in told(
        "search", "run=${out}", "out=${seed}"
    )
    assert "nas rank: 4.csv: no such file" in told(
        "rank", "table=${challenge.name}.csv", "challenge.name='4'"
    )


def test_command_that_is_none_is_shown_in_part(told):
    assert "unknown command" in told("\x1b[2J" * 100)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no"),
        RecursionError("deep"),
        TypeError("odd\n\x1bline"),
        KeyError("x"),
        AssertionError(),
    ],
)
def test_whatever_goes_wrong_before_a_command_runs_is_one_line(told, monkeypatch, error):
    def fail(*arguments, **named):
        raise error

    monkeypatch.setattr("nas.cli.schema.build", fail)
    told("rank", "table=x")
    monkeypatch.setenv("NAS_TRACEBACK", "1")
    with pytest.raises((UsageError, MemoryError)):
        main(["rank", "table=x"])
