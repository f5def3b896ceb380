"""The truth that reports are held to, and whether an interval holds it."""

import dataclasses
import itertools
import statistics

import pytest

from benchmarks.search import trust
from tests.nas.search.table.tables import FIDELITIES, table


def by_hand(pairs):
    signs = [(a - c) * (b - d) > 0 for (a, b), (c, d) in itertools.combinations(pairs, 2)]
    return 2 * sum(signs) / len(signs) - 1


def test_truth_is_of_means_over_seeds_and_of_first_trainings():
    found = table(noise=0.5)
    low, top = FIDELITIES[0], FIDELITIES[-1]
    curves = [[dict(run.curve) for run in entry.trainings] for entry in found.entries.values()]
    means = [
        [statistics.fmean(run[step] for run in runs) for step in (low, top)] for runs in curves
    ]
    truth = trust.Truth(found, low)
    assert truth.tau == pytest.approx(by_hand(means))
    assert truth.single_tau == pytest.approx(
        by_hand([(runs[0][low], runs[0][top]) for runs in curves])
    )
    assert truth.single_tau != truth.tau


def test_members_without_a_whole_training_are_left_out():
    found = table(noise=0.0)
    name, entry = next(iter(found.entries.items()))
    failed = dataclasses.replace(entry.trainings[0], curve=(), error="diverged")
    entries = {**found.entries, name: dataclasses.replace(entry, trainings=(failed,))}
    truth = trust.Truth(dataclasses.replace(found, entries=entries), FIDELITIES[0])
    assert truth.single_tau == pytest.approx(1.0)
    assert truth.tau == pytest.approx(1.0, abs=0.02)  # means of what is tied may not be


def test_share_covered_counts_intervals_that_hold_the_truth():
    judged = [{"low": 0.1, "high": 0.5}, {"low": 0.5, "high": 0.9}, {"low": 0.6, "high": 1.0}]
    assert trust.share_covered(judged, 0.5) == pytest.approx(2 / 3)


def test_a_search_to_its_end_has_judged_every_rung_by_ladder_and_probes():
    line = trust.search("random", 0, "esr_bench_mini", 5)
    assert [one["rung"] for one in line["judged"]] == [250, 500, 1000]
    assert {one["num_networks"] for one in line["judged"]} == {8}
    assert len(set(line["probes"])) == 4
