# ruff: noqa: E501 - one case a line
import dataclasses
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nas.record import Cost
from nas.search.table import entries
from nas.search.table import table as table_file
from nas.search.table.entries import Training
from nas.search.table.table import FACTS, Table, find_table
from nas.system.schema.stored_schema import SchemaError
from tests.nas.search.table.tables import FIDELITIES, table


def test_table_reads_back_equal(tmp_path):
    made = table()
    name, entry = next(iter(made.entries.items()))
    broken = dataclasses.replace(
        entry, trainings=(Training(curve=(), train_seconds=0.0, restarts=0, error="diverged: x"),)
    )
    made = dataclasses.replace(made, entries={**made.entries, name: broken})
    made.save(tmp_path / "t.parquet")
    assert Table.load(tmp_path / "t.parquet") == made


def test_file_is_a_frame_for_others_to_read(tmp_path):
    made = table()
    made.save(tmp_path / "t.parquet")
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert len(frame) == sum(len(entry.trainings) for entry in made.entries.values()) * len(
        FIDELITIES
    )
    wanted = {
        "arch_id",
        "arch",
        "seed",
        "fidelity",
        "psnr_db",
        "params",
        "flops",
        "runtime_ratio",
        "train_seconds",
    }
    assert wanted <= set(frame.columns)
    assert frame["train_seconds"].max() == 4.0


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_other_files_are_refused_in_words(tmp_path, content):
    path = tmp_path / "x.parquet"
    if content is None:
        pd.DataFrame({"a": [1]}).to_parquet(path)
    else:
        path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^table=.*x.parquet is (no Parquet file|not one of nas tabulate)"
    ):
        Table.load(path)


def test_unknown_table_names_those_that_ship():
    with pytest.raises(
        ValueError, match=r"table=none_such: there is no such file; those that ship: "
    ):
        find_table("none_such")


def test_a_table_from_before_a_cost_was_counted_is_read_without_it(tmp_path, monkeypatch):
    """A later version may count more."""
    path = tmp_path / "t.parquet"
    table().save(path)
    wider = dataclasses.make_dataclass(
        "WiderCost", [("windows", int, 0)], bases=(Cost,), frozen=True, kw_only=True
    )
    monkeypatch.setattr(entries, "Cost", wider)
    monkeypatch.setattr(entries, "COSTS", (*entries.COSTS, "windows"))
    costs = {name: entry.cost for name, entry in Table.load(path).entries.items()}
    assert {cost.windows for cost in costs.values()} == {0}
    assert all(costs[name].params == entry.cost.params for name, entry in table().entries.items())


def rewrite(path, *, change=lambda data: data, facts=lambda facts: facts):
    """Write a table's file anew with other columns, or other facts in its metadata."""
    data = change(pq.read_table(path))
    stored = json.loads(data.schema.metadata[FACTS])
    data = data.replace_schema_metadata({FACTS: json.dumps(facts(stored)).encode()})
    pq.write_table(data, path)


def set_cells(name, values):
    """Return a change of a column's first cells."""

    def change(data):
        place, column = data.column_names.index(name), data[name].to_pylist()
        return data.set_column(place, name, pa.array([*values, *column[len(values) :]]))

    return change


@pytest.mark.parametrize(
    ("change", "misfit"),
    [
        (lambda data: data.drop_columns(["flops"]), "flops: expected one column, got none"),
        (lambda data: data.append_column("flops", data["flops"]), "flops: expected one column, got 2"),
        (set_cells("flops", [1.5]), "flops: expected numbers, got double"),
        (set_cells("error", [None]), "record 0, error: expected text, got null"),
        (set_cells("psnr_db", [float("nan")]), "record 0, psnr_db: expected a number of at least -10000 and at most 10000 or null, got nan"),
        (set_cells("psnr_db", [None]), "psnr_db: expected one where there is no error"),
        (set_cells("params", [7]), "params: expected one value in all its rows"),
        (set_cells("params", [-7]), "record 0, params: expected a whole number of at least 1, got -7"),
        (set_cells("seed", [5] * len(FIDELITIES)), "seed: expected 0, 1, 2, ... without gaps, got [1, 2, 5]"),
        (set_cells("fidelity", [7]), "fidelity: expected a row for each of"),
        (lambda data: data.slice(0, 1), "fidelity: expected a row for each of"),
        (lambda data: pa.concat_tables([data, data.slice(0, 1)]), "fidelity: expected a row for each of"),
    ],
)  # fmt: skip
def test_table_whose_rows_do_not_fit_is_refused_with_its_field(tmp_path, change, misfit):
    path = tmp_path / "t.parquet"
    table().save(path)
    rewrite(path, change=change)
    with pytest.raises(SchemaError) as told:
        Table.load(path)
    assert str(told.value).startswith(f"table={path}")
    assert misfit in str(told.value)


@pytest.mark.parametrize(
    ("facts", "misfit"),
    [
        ({"rungs": ["0x0", "1x1"]}, "metadata, ladder_sizes[0]: expected channels x blocks"),
        ({"rungs": ["900x90", "8x1"]}, "expected a member of each size, got none of 900x90"),
        ({"fidelities": [5, 5]}, "metadata: fidelities must rise"),
        ({"base_db": None}, "metadata, base_db: expected a number"),
        ({"conditions": {}}, "mode: expected it, got nothing"),
        ({"scale": 4.0}, "metadata, scale: expected a whole number"),
    ],
)
def test_table_whose_facts_do_not_fit_is_refused_with_its_field(tmp_path, facts, misfit):
    path = tmp_path / "t.parquet"
    table().save(path)
    rewrite(path, facts=lambda stored: stored | facts)
    with pytest.raises(SchemaError) as told:
        Table.load(path)
    assert misfit in str(told.value)


def test_page_of_a_table_in_which_a_byte_changed_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    table().save(path)
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is no Parquet file, or a damaged one"):
        Table.load(path)


def test_few_bytes_that_stand_for_much_text_are_refused(tmp_path, monkeypatch):
    """A dictionary holds one text of 200 KiB, to which all rows point."""
    path = tmp_path / "bomb.parquet"
    table().save(path)
    count = len(pq.read_table(path))
    rewrite(path, change=set_cells("error", ["x" * 200_000] * count))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(table_file, "MAX_UNPACKED", 1_000_000)
    with pytest.raises(SchemaError, match=r"expected (less text, got|at most 1,000,000 rows)"):
        Table.load(path)
