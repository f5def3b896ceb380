"""What sampler and screening are told of a run."""

import dataclasses
import math

import pytest

from nas.analysis.ladder import rung_spec
from nas.search.model.observations import calibration_factor
from tests.nas.search.studies import climb, open_search, record_of, rejected, search, small_space


def span_space():
    """Holds SPAN and the smallest rung of the ladder."""
    return small_space(
        num_blocks=[1, 6], channels=[12, 28], attention=["parameter_free"], activation=["silu"],
        taps=["all", "last"],
    )  # fmt: skip


def observed(asker):
    return asker.observer.observe(asker.study).rows


def test_row_0_and_the_rungs_are_learned_from_where_they_are_candidates(tmp_path):
    asker = open_search(tmp_path, space=span_space())
    climb(asker.study)
    baseline, rung = observed(asker)
    candidates = asker.observer.candidates
    assert candidates.candidate(baseline.point).name == asker.study.rules.baseline.arch_id
    assert (baseline.number, baseline.costs["runtime_ratio"]) == (
        0,
        asker.study.records[0].latency.ratio,
    )
    assert candidates.candidate(rung.point).name == rung_spec("12x1", 4).arch_id
    assert (rung.number, rung.costs, rung.quality) == (None, {}, pytest.approx(-0.6))


def test_a_rejected_trial_tells_its_runtime_and_no_psnr(tmp_path):
    asker = open_search(tmp_path)
    climb(asker.study)
    first, second = asker.ask(), asker.ask()
    asker.study.tell(first, dataclasses.replace(rejected(first), latency=record_of(first).latency))
    asker.study.tell(second, record_of(second))
    measured, trained = (one for one in observed(asker) if one.number)
    assert (measured.quality, measured.costs["runtime_ratio"]) == (
        None,
        record_of(first).latency.ratio,
    )
    assert trained.quality is not None


def test_a_record_that_is_replaced_is_seen_as_the_later_one(tmp_path):
    asker = open_search(tmp_path)
    search(asker, 3)
    before = {one.number: one for one in observed(asker)}
    old = asker.study.records[2]
    better = dataclasses.replace(old.quality, psnr_db=old.quality.psnr_db + 0.5)
    asker.study._keep_record(dataclasses.replace(old, quality=better))
    after = {one.number: one for one in observed(asker)}
    assert after[2].quality == pytest.approx(before[2].quality + 0.5)
    assert {**after, 2: None} == {**before, 2: None}


@pytest.mark.parametrize(("seeds", "floor"), [((0, 1), -0.04), ((0,), -0.8)])
def test_the_front_is_searched_above_the_gate_only_where_the_ladder_passes(tmp_path, seeds, floor):
    asker = open_search(tmp_path, ladder_seeds=len(seeds))
    climb(asker.study, seeds=seeds)
    assert asker.observer.observe(asker.study).acquisition.floor_db == pytest.approx(
        floor, abs=0.001
    )


def test_a_screen_holds_a_modelled_proposal_to_the_front_and_outlives_a_restart(tmp_path):
    asker = open_search(tmp_path, sampler="cost_aware")
    search(asker, 6)
    proposal = asker.ask()
    screen = asker.make_screen(proposal)
    predicted = proposal.suggestion.predicted
    wider = calibration_factor(observed(asker))
    assert wider >= 1
    assert screen.bound_db == pytest.approx(
        predicted.mean + 3 * wider * math.hypot(predicted.std, predicted.noise)
    )
    front = {incumbent.number for incumbent in screen.incumbents}
    assert front
    assert front <= set(asker.study.records)
    again = open_search(tmp_path, sampler="cost_aware")
    assert again.make_screen(again.study.pending[0]) == screen


def test_a_proposal_that_was_drawn_has_no_screen(tmp_path):
    asker = open_search(tmp_path, sampler="random")
    climb(asker.study)
    assert asker.make_screen(asker.ask()) is None
