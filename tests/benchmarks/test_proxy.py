"""What the proxy study makes of its results: only lines under a variant's own settings count."""

import json

import pytest

from benchmarks.proxy import proxy as benchmark
from benchmarks.proxy.variants import TRUTHS, VARIANTS
from nas.analysis.ladder import RUNGS


@pytest.fixture
def study(tmp_path):
    return benchmark.Study(
        {"train": "photos/BSDS", "val": "photos/Set"}, None, tmp_path / "proxy.jsonl"
    )


@pytest.fixture
def add(study):
    """Append a training of a variant, as if it had been run."""

    def append(name, network, psnr_db, seed=0, **other):
        setting = study.compose((TRUTHS | VARIANTS)[name])[1]
        quality = {"base_db": 25.0, "fidelity": 800, "train_seconds": 9.0, "restarts": 0}
        line = {"network": network, "seed": seed, "psnr_db": psnr_db, **quality}
        study.append(name, setting | other, line)

    return append


def test_networks_are_the_ladder_and_the_same_draw_every_time():
    found = benchmark.networks()
    assert list(found)[: len(RUNGS)] == list(RUNGS)
    assert len({spec.arch_id for spec in found.values()}) == len(RUNGS) + benchmark.NUM_DRAWN
    assert found == benchmark.networks()


def test_every_network_has_a_long_training_and_six_have_two_seeds():
    asked = [*benchmark.wanted("truth"), *benchmark.wanted("truth_high")]
    assert {network for network, _ in asked} == set(benchmark.networks())
    assert sum(seed == 1 for _, seed in asked) == benchmark.TWICE


def test_lines_of_other_settings_do_not_count(study, add):
    add("first", "28x6", 26.0)
    add("first", "28x6", 29.0, seed=1, twist="own_patches")
    add("first", "28x6", 29.0, seed=1, train="Others")
    add("brief", "28x6", 29.0, seed=1)
    assert [line["psnr_db"] for line in study.trainings(VARIANTS["first"])] == [26.0]


def test_truth_is_the_mean_over_seeds_at_the_better_rate(study, add):
    for name, seed, psnr_db in (("truth", 0, 26.0), ("truth", 1, 26.2), ("truth_high", 0, 26.15)):
        add(name, "28x6", psnr_db, seed=seed)
    add("truth_high", "12x1", 25.5)
    assert study.truth() == {"28x6": pytest.approx(26.15), "12x1": 25.5}
    assert study.truth_noise() == pytest.approx(0.2 / 2**0.5)


def test_table_has_the_best_agreement_first_and_no_tau_where_networks_are_missing(study, add):
    for place, network in enumerate(benchmark.networks()):
        add("truth", network, 25.0 + place / 10)
        add("quick", network, 24.0 + place / 10)
        add("half", network, 24.0 - place / 10)
        if network in RUNGS:
            add("brief", network, 24.0 + place)
    judged = benchmark.judge_all(study, ["half", "brief", "quick"])
    assert [(row.name, found.tau) for found, row in judged] == [
        ("quick", pytest.approx(1.0)),
        ("half", pytest.approx(-1.0)),
        ("brief", None),
    ]
    lines = list(benchmark.table(study, judged))
    assert len({line.count("|") for line in lines}) == 1
    assert "1 of 1 | 3.000" in lines[-1]


def test_a_variant_that_needs_a_parent_has_no_lines_without_one(study):
    assert study.trainings(VARIANTS["cut"]) == []
    assert json.dumps(study.compose(VARIANTS["brief"])[1])  # what a line begins with
