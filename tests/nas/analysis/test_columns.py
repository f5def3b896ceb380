"""The table of columns: what follows from a line of it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from nas.analysis import columns, results
from nas.analysis.columns import (
    BY_NAME,
    COLUMNS,
    CONTRACT_COLUMNS,
    FILLED_LATER,
    GOALS,
    LIMITS,
    MORE_COLUMNS,
    read_costs,
)
from nas.analysis.training import Trained
from nas.report.numbers import format_value
from tests.nas.report import runs

CONTRACT = (  # DESIGN 3.3, word for word
    "number,state,arch_id,arch,fidelity,psnr_db,psnr_gain_db,runtime_ms,runtime_ratio,runtime_ci,"
    "params,flops,activations,memory_mib,score,feasible,on_front,latency_mode,device,"
    "train_seconds,error"
)
# One more line for `MORE_COLUMNS`, as CONTRIBUTING describes it.
LINE = """
    Column("flops_per_param", FLOAT, "MAC", "FLOPs a parameter", ",.0f",
           lambda row: row.cost and row.cost.flops / row.cost.params, MIN, None, BOTH),
"""


def test_contract_columns_are_those_of_the_contract():
    assert ",".join(column.name for column in CONTRACT_COLUMNS) == CONTRACT


def test_table_has_every_column_in_order_with_its_type():
    trained = Trained(
        arch_id=runs.SPAN.arch_id, run="t", recipe="short", steps=9, seconds=1.0, psnr_db=28.0,
        test_psnr_db=None, val="2-0", on_same_val=True,
    )  # fmt: skip
    found = {"test_psnr_db": {runs.SPAN.arch_id: 27.0}, "trained": {runs.SPAN.arch_id: trained}}
    frame = results.table(runs.search(20, **found))
    assert list(frame.columns) == [column.name for column in COLUMNS]
    for column in COLUMNS:
        if column.dtype != "text":
            assert str(frame[column.name].dtype) == column.dtype, column.name


def test_optional_columns_are_left_out_where_no_row_has_them():
    optional = {column.name for column in COLUMNS if column.optional}
    assert optional.isdisjoint(results.table(runs.search(5)).columns)
    assert optional == {"test_psnr_db", "trained_psnr_db"}


def test_names_are_unique_and_what_a_panel_shows_has_a_head_of_its_own():
    assert len(BY_NAME) == len(COLUMNS)
    for panel in ("front", "trials"):
        heads = [column.heading for column in COLUMNS if panel in column.panels]
        assert len(set(heads)) == len(heads) > 5


def test_formats_are_those_of_python_or_giga():
    for column in COLUMNS:
        if column.format:
            assert column.dtype != "text", column.name
            assert format_value(3, column.format), column.name


def test_goals_maximise_psnr_alone():
    maximised = {name for name, goal in GOALS.items() if goal.direction == "maximize"}
    assert maximised == {"psnr_db", "psnr_gain_db"}
    assert all(goal.name == name for name, goal in GOALS.items())
    assert set(LIMITS) == GOALS.keys() - maximised
    assert GOALS["flops"].unit == "MAC"


def test_noise_is_that_of_the_reading():
    assert {name for name in GOALS if BY_NAME[name].noise == "seeds"} == {"psnr_db", "psnr_gain_db"}
    timed = {name for name in GOALS if BY_NAME[name].noise == "latency"}
    assert timed == {"runtime_ms", "runtime_ratio", "score"}


READ_FROM_A_ROW = [column for column in COLUMNS if column.value != FILLED_LATER]


@pytest.mark.parametrize("column", READ_FROM_A_ROW, ids=lambda column: column.name)
def test_every_cell_can_be_read_where_nothing_was_measured(column):
    record = runs.TrialRecord(number=3, state="failed", spec=runs.SPAN)
    state = runs.run_state([record], ladder=())
    row = results.Row(record, state, state.yardstick)
    column.make_reader()(row)


def test_read_costs_gives_what_was_measured():
    record = runs.complete(1, ratio=0.7)
    costs = read_costs(record)
    assert costs["runtime_ratio"] == 0.7
    assert costs["params"] == record.cost.params
    assert "score" not in costs  # it needs the run's baseline
    assert read_costs(dataclasses.replace(record, latency=None), ["runtime_ratio"]) == {}
    assert read_costs(record, ["flops"]) == {"flops": record.cost.flops}


def test_a_line_is_a_column_of_the_files_the_report_and_the_objectives(tmp_path):
    """The sources are copied with one more line, and a search is run on the copy.

    In a process of its own: the columns are read when their module is imported.
    """
    text = Path(columns.__file__).read_text(encoding="utf-8")
    assert text.count(")\n# fmt: on") == 1
    text = text.replace(")\n# fmt: on", f"{LINE.strip(chr(10))}\n)\n# fmt: on")
    changed = tmp_path / "columns.py"
    changed.write_text(text, encoding="utf-8")
    script = tmp_path / "search.py"
    script.write_text(SCRIPT, encoding="utf-8")

    run = tmp_path / "run"
    overrides = ["search", "evaluator=table", "space=esr_bench_mini", "proxy.steps=2000"]
    overrides += ["trials=8", "objectives=[psnr_gain_db,flops_per_param]", f"run={run}"]
    subprocess.run(
        [sys.executable, str(script), str(changed), json.dumps(overrides)],
        check=True,
        cwd=tmp_path,
        timeout=300,
    )

    frame = pd.read_csv(run / "trials.csv")
    assert frame.columns[len(CONTRACT_COLUMNS)] == MORE_COLUMNS[0].name
    assert frame["flops_per_param"].to_numpy() == pytest.approx(
        (frame["flops"] / frame["params"]).to_numpy()
    )

    # The front is that of the new objective, by its definition.
    is_member = frame["on_front"] == "yes"
    members = frame[is_member]
    is_beaten = ~is_member & (frame["state"] == "complete") & (frame["feasible"] != "no")
    assert is_beaten.any()
    for _, row in frame[is_beaten].iterrows():
        beats = (members["psnr_gain_db"] >= row["psnr_gain_db"]) & (
            members["flops_per_param"] <= row["flops_per_param"]
        )
        assert beats.any(), row["number"]

    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("FLOPs a parameter (MAC)</button>") == 2  # the front's table and all trials
    assert "FLOPs a parameter (MAC) better to the left" in page


SCRIPT = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("nas.analysis.columns", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["nas.analysis.columns"] = module
spec.loader.exec_module(module)
from nas.cli.door import main
sys.exit(main(json.loads(sys.argv[2])))
"""
