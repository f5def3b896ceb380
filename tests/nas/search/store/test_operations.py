# ruff: noqa: E501 - one case a line
"""A journal with right checksums and wrong content: each misfit is told with its record and field."""

import json
import shutil

import pytest

from nas.cli.door import main
from nas.search.store.run_folder.runs import load_run
from nas.system.files.record_file import frame
from nas.system.schema.stored_schema import SchemaError

TABLE = ["evaluator=table", "space=esr_bench_mini", "challenge=esr_bench_mini", "proxy.steps=2000"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    run = tmp_path_factory.mktemp("searched") / "run"
    assert main(["search", *TABLE, "trials=8", "workers=1", f"run={run}"]) == 0
    return run


@pytest.fixture
def run(searched, tmp_path):
    shutil.copytree(searched, tmp_path / "run")
    return tmp_path / "run"


def read(run):
    records = [json.loads(line) for line in (run / "journal.log").read_bytes().splitlines()]
    for record in records:
        del record["record"], record["crc"]
    return records


def change(run, pick, edit):
    """Edit the first record that `pick` takes; return its number."""
    records = read(run)
    number = next(number for number, record in enumerate(records) if pick(record))
    edit(records[number])
    lines = [frame(record, place) for place, record in enumerate(records)]
    (run / "journal.log").write_bytes(b"".join(lines))
    return number


def sets(name):
    """Return what takes the records that set an attribute."""
    return lambda record: any(key.startswith(name) for key in record.get("user_attr", {}))


def makes(code):
    return lambda record: record["op_code"] == code


def within(name, **fields):
    """Return an edit of the JSON that stands in an attribute's text."""

    def edit(record):
        (key,) = [key for key in record["user_attr"] if key.startswith(name)]
        data = json.loads(record["user_attr"][key]) | fields
        record["user_attr"][key] = json.dumps(data)

    return edit


def attribute(value):
    """Return an edit that gives an attribute another value."""
    return lambda record: record.update(user_attr=dict.fromkeys(record["user_attr"], value))


def fields(**values):
    return lambda record: record.update(values)


COST = {"params": 0, "flops": 1, "activations": 1, "num_conv": 1, "memory_mib": 1.0}


@pytest.mark.parametrize(
    ("pick", "edit", "misfit"),
    [
        (makes(0), fields(directions=[3]), "directions[0]: expected 1 or 2, got 3"),
        (makes(0), fields(study_name="yours"), 'study_name: expected nas, got "yours"'),
        (makes(2), fields(op_code=1), "op_code: expected one of 0, 2, 4, 6, 8, 9, got 1"),
        (makes(2), fields(op_code=[]), "got a list of 0"),
        (makes(2), fields(study_id=True), "study_id: expected 0, got true"),
        (makes(2), fields(more=1), 'got the field "more"'),
        (makes(4), fields(params={}), "params: expected num_blocks, channels, attention, activation"),
        (makes(4), fields(distributions={"a": "{}"}), 'distributions.a: expected whole numbers from 0, got "{}"'),
        (makes(4), lambda record: record["params"].update(channels=9), "params.channels: expected a whole number below 4, got 9"),
        (makes(4), lambda record: record["params"].update(channels=0.5), "params.channels: expected a whole number below 4, got 0.5"),
        (makes(6), fields(values=[1.0]), "values: expected a list of 2, got a list of 1"),
        (makes(6), fields(state=2), "state: expected 1 or 3, got 2"),
        (makes(6), fields(trial_id=99), "trial_id: 99 is of a trial that is not there"),
        (makes(9), fields(system_attr={"x": 1}), 'system_attr.x: expected a constraint, got "x"'),
        (sets("rungs"), attribute(["x"]), "rungs[0]: expected channels x blocks, as in 28x6"),
        (sets("rungs"), attribute(["8x1"]), "rungs: expected 2 to 64 items, got a list of 1"),
        (sets("planned"), attribute(-1), "planned_trials: expected a whole number of at least 0, got -1"),
        (sets("number"), attribute(0), "number: expected a whole number of at least 1, got 0"),
        (sets("number"), fields(user_attr={"x": 1}), 'got the field "x"'),
        (sets("record"), within("record", state="away"), 'record.state: expected one of complete, failed, rejected, got "away"'),
        (sets("record"), within("record", cost=COST), "record.cost.params: expected a whole number of at least 1, got 0"),
        (sets("record"), within("record", quality=None), "record.quality: expected it of a complete record, got null"),
        (sets("baseline"), within("baseline", cost=None), "baseline.cost: expected it of a complete record, got null"),
        (sets("record"), within("record", spec={}), "record.spec: architecture: blocks, fusion"),
        (sets("record"), within("record", latency={}), "record.latency.runtime_ms: expected it, got nothing"),
        (sets("record"), attribute("{"), 'record: expected JSON, got "{"'),
        (sets("record"), attribute("[" * 9999), "record: expected JSON"),
        (sets("baseline"), within("baseline", quality=3), "baseline.quality: expected a mapping or null, got 3"),
        (sets("ladder"), within("ladder", psnr_db=None), "psnr_db: expected a number of at least -10000 and at most 10000, got null"),
    ],
)  # fmt: skip
def test_a_misfit_is_told_with_its_record_and_field(run, pick, edit, misfit):
    number = change(run, pick, edit)
    with pytest.raises(SchemaError) as told:
        load_run(run)
    assert f"{run / 'journal.log'}, record {number}" in str(told.value)
    assert misfit in str(told.value)
    assert str(told.value).endswith("holds what no search writes; restore it from a copy")


def test_records_of_two_rows_with_one_number_are_refused(run):
    records = read(run)
    places = [place for place, record in enumerate(records) if sets("number")(record)]
    records[places[1]]["user_attr"]["number"] = 1
    lines = [frame(record, place) for place, record in enumerate(records)]
    (run / "journal.log").write_bytes(b"".join(lines))
    with pytest.raises(SchemaError, match=f"record {places[1]}, number: 1 is another row's"):
        load_run(run)


def test_a_row_that_starts_from_a_later_one_is_refused(run):
    number = change(run, sets("inherits"), attribute(7))  # the number itself comes next
    with pytest.raises(
        SchemaError, match=f"record {number + 1}, inherits: row 1 cannot start from"
    ):
        load_run(run)


def test_a_record_of_another_number_than_its_row_is_refused(run):
    change(run, sets("record"), within("record", number=5))
    with pytest.raises(SchemaError, match="number: expected 1, got 5"):
        load_run(run)


@pytest.mark.parametrize("command", ["search", "report", "trust", "export"])
def test_commands_tell_a_misfit_in_one_line(run, capsys, command):
    number = change(run, sets("record"), within("record", quality={"psnr_db": "\x1b[2J"}))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main([command, f"run={run}", *(["trials=9"] if command == "search" else [])]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"record {number}, record.quality.psnr_db: expected a number" in error
    assert error.rstrip("\n").isprintable()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_search_goes_on_after_a_kill_between_the_constraints_and_the_end_of_a_trial(run):
    """What the killed session wrote is not written again: Optuna would warn, which is an error here."""
    records = read(run)
    last = next(place for place, record in enumerate(records) if makes(9)(record))
    assert makes(6)(records[last + 1])
    lines = (run / "journal.log").read_bytes().splitlines(keepends=True)
    (run / "journal.log").write_bytes(b"".join(lines[: last + 1]))
    assert main(["search", f"run={run}", "trials=2"]) == 0
    added = read(run)[last + 1 :]
    assert not any(makes(9)(record) and record["trial_id"] == 0 for record in added)


@pytest.fixture(scope="module")
def bred(tmp_path_factory):
    """A run whose suggestions have notes."""
    run = tmp_path_factory.mktemp("bred") / "run"
    given = ["trials=9", "workers=1", "sampler=nsga2", "sampler.population=2", f"run={run}"]
    assert main(["search", *TABLE, *given]) == 0
    return run


@pytest.mark.parametrize(
    ("notes", "misfit"),
    [
        ({"generation": 10**9}, "expected numbers of at most"),
        ({"generation": 2, "parents": [10**6]}, "expected numbers of at most"),
        ({"generation": 2, "parents": [-1]}, "parents[0]: expected a whole number of at least 0"),
        ({"generation": "x"}, 'generation: expected a whole number of at least 0, got "x"'),
    ],
)
def test_notes_that_speak_of_what_was_not_told_are_refused(bred, tmp_path, capsys, notes, misfit):
    run = shutil.copytree(bred, tmp_path / "run")
    records = read(run)
    noted = [record for record in records if record.get("user_attrs", {}).get("suggestion")]
    noted[-1]["user_attrs"]["suggestion"]["notes"] = notes
    lines = [frame(record, place) for place, record in enumerate(records)]
    (run / "journal.log").write_bytes(b"".join(lines))
    assert main(["search", f"run={run}", "trials=11"]) == 2
    assert misfit in capsys.readouterr().err


def test_a_warm_start_tells_a_misfit_of_the_run_that_it_reads(run, capsys, tmp_path):
    number = change(run, sets("record"), within("record", seconds={"a": None}))
    other = tmp_path / "other"
    assert main(["search", *TABLE, "trials=1", f"warm_start=[{run}]", f"run={other}"]) == 2
    assert f"record {number}, record.seconds.a: expected a number" in capsys.readouterr().err
    assert not other.exists()
