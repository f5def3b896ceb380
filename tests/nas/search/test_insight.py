"""What sampler and screening are told of a run."""

import dataclasses
import math

import pytest

from nas.analysis.ladder import rung_spec
from nas.search.sampling.proposer import stretch
from nas.search.sampling.sampler import EXPECTED
from tests.nas.search.studies import climb, open_ledger, record_of, rejected, search, small_space


def span_space():
    """Holds SPAN and the smallest rung of the ladder."""
    return small_space(
        num_blocks=[1, 6], channels=[12, 28], attention=["parameter_free"], activation=["silu"],
        taps=["all", "last"],
    )  # fmt: skip


def seen_of(ledger):
    return ledger.seen()


def test_row_0_and_the_rungs_are_learned_from_where_they_are_candidates(tmp_path):
    ledger = open_ledger(tmp_path, space=span_space())
    climb(ledger)
    baseline, rung = seen_of(ledger)
    pool = ledger.insight.proposer.pool
    assert pool.candidate(baseline.point).name == ledger.baseline.arch_id
    assert (baseline.number, baseline.costs["runtime_ratio"]) == (0, ledger.records[0].latency.ratio)
    assert pool.candidate(rung.point).name == rung_spec("12x1", 4).arch_id
    assert (rung.number, rung.costs, rung.quality) == (None, {}, pytest.approx(-0.6))


def test_a_rejected_trial_tells_its_runtime_and_no_psnr(tmp_path):
    ledger = open_ledger(tmp_path)
    climb(ledger)
    first, second = ledger.propose(), ledger.propose()
    ledger.record(first, dataclasses.replace(rejected(first), latency=record_of(first).latency))
    ledger.record(second, record_of(second))
    measured, trained = (one for one in seen_of(ledger) if one.number)
    assert (measured.quality, measured.costs["runtime_ratio"]) == (None, record_of(first).latency.ratio)
    assert trained.quality is not None


def test_a_record_that_is_replaced_is_seen_as_the_later_one(tmp_path):
    ledger = open_ledger(tmp_path)
    search(ledger, 3)
    before = {one.number: one for one in seen_of(ledger)}
    old = ledger.records[2]
    better = dataclasses.replace(old.quality, psnr_db=old.quality.psnr_db + 0.5)
    ledger._keep(dataclasses.replace(old, quality=better))
    after = {one.number: one for one in seen_of(ledger)}
    assert after[2].quality == pytest.approx(before[2].quality + 0.5)
    assert {**after, 2: None} == {**before, 2: None}


@pytest.mark.parametrize(("seeds", "floor"), [((0, 1), -0.04), ((0,), -0.8)])
def test_the_front_is_searched_above_the_gate_only_where_the_ladder_passes(tmp_path, seeds, floor):
    ledger = open_ledger(tmp_path, ladder_seeds=len(seeds))
    climb(ledger, seeds=seeds)
    assert ledger.insight.proposer.aim.floor_db == pytest.approx(floor, abs=0.001)


def test_a_screen_holds_a_modelled_proposal_to_the_front_and_outlives_a_restart(tmp_path):
    ledger = open_ledger(tmp_path, sampler="cost_aware")
    search(ledger, 6)
    proposal = ledger.propose()
    screen = ledger.screen(proposal)
    mean, std, noise = ledger.study._storage.get_trial(proposal.handle).user_attrs[EXPECTED]
    wider = stretch(ledger.seen())
    assert wider >= 1
    assert screen.bound_db == pytest.approx(mean + 3 * wider * math.hypot(std, noise))
    front = {rival.number for rival in screen.rivals}
    assert front
    assert front <= set(ledger.records)
    again = open_ledger(tmp_path, sampler="cost_aware")
    assert again.screen(again.pending[0]) == screen


def test_a_proposal_that_was_drawn_has_no_screen(tmp_path):
    ledger = open_ledger(tmp_path, sampler="random")
    climb(ledger)
    assert ledger.screen(ledger.propose()) is None
