"""What the study of families makes of its results."""

from benchmarks.proxy import families as benchmark
from nas.analysis.ladder import RUNGS
from nas.measure.cost import summed_cost
from search_spaces.published import published


def line(network, psnr_db):
    return {
        "arch_id": benchmark.networks()[network].arch_id,
        "psnr_db": psnr_db,
        "train_seconds": 9.0,
    }


def test_networks_are_the_ladder_and_one_of_each_kind_of_a_like_size():
    found = benchmark.networks()
    assert list(found)[: len(RUNGS)] == list(RUNGS)
    families = {name: spec for name, spec in found.items() if name not in RUNGS}
    assert {
        "spab",
        "chain",
        "rfdb",
        "safm",
        "mhcb",
        "hfeb",
        "hab",
        "acb",
        "scab",
        "wavelet",
    } == set(families)
    wanted = summed_cost(published("span"))["flops"] / 4
    for spec in families.values():
        assert len({block.kind for block in spec.blocks}) == 1
        assert 0.5 < summed_cost(spec)["flops"] / wanted < 2


def test_table_ranks_by_the_long_training_and_tells_how_far_the_brief_one_agrees():
    names = list(benchmark.networks())
    brief = [line(name, 25 + i / 10) for i, name in enumerate(names)]
    long = [line(name, 26 + i / 10) for i, name in enumerate(names)]
    rows = list(benchmark.table({"brief": brief, "long": long}))
    places = [row.split("|")[1].strip() for row in rows[2:-2]]
    assert places == names[::-1]
    assert "| 26.300 | 1 | 27.300 | 1 | 9 |" in rows[2]
    assert rows[-2].startswith("all: tau 1.00 (")
    assert f"over {len(names)} networks" in rows[-2]
    long[-1]["psnr_db"] = 20.0  # the last of the families, which the brief training has first
    assert "families: tau 0.60" in list(benchmark.table({"brief": brief, "long": long}))[-1]


def test_what_was_not_trained_both_ways_has_no_row():
    names = list(benchmark.networks())
    found = {"brief": [line(name, 25 + i) for i, name in enumerate(names)]}
    found["long"] = [line(name, 25 + i) for i, name in enumerate(names[:-1])]
    rows = list(benchmark.table(found))
    assert names[-1] == "wavelet"
    assert len(rows) == 2 + len(names) - 1 + 2
    assert not any("wavelet" in row for row in rows)
