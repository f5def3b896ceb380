"""What the study of families makes of its results."""

import pytest

from benchmarks.proxy import families, truth
from nas.analysis.ladder import RUNGS, rung_spec
from nas.measure.cost import summed_cost
from search_spaces.published import published

KINDS = ("spab", "chain", "rfdb", "safm", "mhcb", "hfeb", "hab", "acb", "scab", "wavelet")


@pytest.fixture
def names(monkeypatch):
    """Names of the ladder and the families, these as small SPANs: their costs take no time."""
    sizes = {kind: f"{4 + 2 * place}x1" for place, kind in enumerate(KINDS)}
    specs = {rung: rung_spec(rung, 4) for rung in RUNGS}
    specs |= {kind: rung_spec(size, 4) for kind, size in sizes.items() if size not in RUNGS}
    specs[KINDS[4]] = rung_spec("12x2", 4)  # 12x1 is the ladder's
    monkeypatch.setattr(families, "list_networks", lambda: specs)
    return [*RUNGS, *KINDS]


def line(name, psnr_db):
    arch_id = families.list_networks()[name].arch_id
    return {"arch_id": arch_id, "psnr_db": psnr_db, "train_seconds": 9.0}


def test_networks_are_the_ladder_and_one_of_each_kind_of_a_like_size():
    found = families.list_networks()
    assert list(found)[: len(RUNGS)] == list(RUNGS)
    members = {name: spec for name, spec in found.items() if name not in RUNGS}
    assert list(members) == families.list_families()
    assert set(members) == set(KINDS)
    target = summed_cost(published("span"))["flops"] / 4
    for spec in members.values():
        assert len({block.kind for block in spec.blocks}) == 1
        assert 0.5 < summed_cost(spec)["flops"] / target < 2

    # Here, as parts that were counted once are not counted again.
    assert list(truth.list_networks()) == truth.list_names()


def test_table_ranks_by_the_long_training_and_tells_how_far_the_brief_one_agrees(names):
    brief = [line(name, 25 + i / 10) for i, name in enumerate(names)]
    long = [line(name, 26 + i / 10) for i, name in enumerate(names)]
    rows = list(families.format_table({"brief": brief, "long": long}))
    places = [row.split("|")[1].strip() for row in rows[2:-2]]
    assert places == names[::-1]
    assert "| 26.300 | 1 | 27.300 | 1 | 9 |" in rows[2]
    assert rows[-2].startswith("all: tau 1.00 (")
    assert f"over {len(names)} networks" in rows[-2]
    long[-1]["psnr_db"] = 20.0  # the last of the families, which the brief training has first
    assert "families: tau 0.60" in list(families.format_table({"brief": brief, "long": long}))[-1]


def test_what_was_not_trained_both_ways_has_no_row(names):
    lines = {"brief": [line(name, 25 + i) for i, name in enumerate(names)]}
    lines["long"] = [line(name, 25 + i) for i, name in enumerate(names[:-1])]
    rows = list(families.format_table(lines))
    assert names[-1] == "wavelet"
    assert len(rows) == 2 + len(names) - 1 + 2
    assert not any("wavelet" in row for row in rows)
