import dataclasses

import pandas as pd
import pytest

from nas.record import Cost
from nas.search.table import table as table_file
from nas.search.table.entries import Training
from nas.search.table.table import Table, find_table
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
    monkeypatch.setattr(table_file, "Cost", wider)
    monkeypatch.setattr(table_file, "COSTS", (*table_file.COSTS, "windows"))
    costs = {name: entry.cost for name, entry in Table.load(path).entries.items()}
    assert {cost.windows for cost in costs.values()} == {0}
    assert all(costs[name].params == entry.cost.params for name, entry in table().entries.items())
