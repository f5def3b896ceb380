"""Rungs: who goes on, what is expected of who paused, and that a kill changes none of it."""

import dataclasses

import numpy as np
import pytest

from nas.analysis.ladder import RUNGS, LadderRun
from nas.analysis.results import table
from nas.record import Quality
from nas.search.fidelity.config import FidelityConfig
from nas.search.fidelity.projection import Projection, projections
from nas.search.fidelity.rungs import Rungs
from tests.nas.search.studies import climb, open_search, quality_of, record_of

FIDELITIES = (10, 20, 40)
PSNRS = (25.2, 25.4, 25.6, 25.8)
LATE = {10: -0.2, 20: -0.1, 40: 0.0}  # what every network still lacks


def curve(end_db, until=40):
    return tuple((steps, end_db + late) for steps, late in LATE.items() if steps <= until)


def trained(proposal, until=10, reach=lambda spec: quality_of(spec).psnr_db):
    """What a training of a trial until there gives; it stood where `reach` says at its end."""
    points = curve(reach(proposal.spec), until)
    steps, psnr = points[-1]
    quality = Quality(
        psnr_db=psnr,
        base_db=24.9,
        fidelity=steps,
        train_seconds=steps / 10,
        restarts=0,
        curve=points,
    )
    return dataclasses.replace(record_of(proposal), quality=quality)


def opened(folder, **changes):
    asker = open_search(folder, **{"fidelities": FIDELITIES, "sampler": "cost_aware"} | changes)
    for rung, psnr in zip(RUNGS, PSNRS, strict=True):
        if (rung, 0) not in {(run.rung, run.seed) for run in asker.study.ladder}:
            run = LadderRun(
                rung=rung,
                seed=0,
                psnr_db=psnr,
                base_db=24.9,
                fidelity=40,
                train_seconds=4,
                curve=curve(psnr),
            )
            asker.study.add_ladder_run(run)
    if 0 not in asker.study.records:
        climb(asker.study)
        quality = dataclasses.replace(
            asker.study.records[0].quality, psnr_db=PSNRS[-1], fidelity=40
        )
        asker.study.set_baseline(dataclasses.replace(asker.study.records[0], quality=quality))
    return asker


def search(asker, trials, stop=10**9, taken=None):
    """One worker; what it did, in order: number and steps. Ends after `stop` trainings, as a kill would."""
    done = [] if taken is None else taken
    waiting = asker.study.pending
    while len(done) < stop:
        wants = asker.study.num_counted < trials
        proposal = waiting.pop(0) if waiting else asker.resume(is_last=not wants)
        proposal = proposal or (asker.ask() if wants else None)
        if proposal is None:
            break
        until = asker.find_stop(proposal)
        done.append((proposal.number, until))
        asker.study.tell(proposal, trained(proposal, until))
    return done


def test_trials_pause_and_those_on_the_front_are_trained_to_the_end(tmp_path):
    asker = opened(tmp_path)
    done = search(asker, 12)
    assert [until for _, until in done].count(10) == 12
    reached = {n: r.quality.fidelity for n, r in asker.study.records.items()}
    frame = table(asker.study.state)
    members = frame[(frame["on_front"] == "yes") & (frame["number"] > 0)]
    assert len(members) >= 3
    assert set(members["fidelity"]) == {40}
    assert 10 in reached.values()  # not everything was worth it
    for number, _ in done:
        steps = [until for one, until in done if one == number]
        assert steps == [f for f in FIDELITIES if f <= reached[number]]


@pytest.mark.parametrize("sampler", ["cost_aware", "random", "evolution"])
def test_search_killed_anywhere_goes_on_as_it_would_have(tmp_path, sampler):
    whole = (
        search(opened(tmp_path / "whole", sampler=sampler), 7)
        if (tmp_path / "whole").mkdir() is None
        else []
    )
    for stop in range(1, len(whole), 6):
        folder = tmp_path / str(stop)
        folder.mkdir()
        done = search(opened(folder, sampler=sampler), 7, stop=stop)
        assert search(opened(folder, sampler=sampler), 7, taken=done) == whole


def test_row_below_the_top_is_neither_feasible_nor_on_the_front(tmp_path):
    asker = opened(tmp_path)
    proposal = asker.ask()
    asker.study.tell(proposal, trained(proposal, reach=lambda spec: 27.0))
    row = table(asker.study.state).iloc[1]
    assert (row["fidelity"], row["feasible"], row["on_front"]) == (10, "unknown", "no")
    assert row["psnr_gain_db"] == pytest.approx(
        27.0 - PSNRS[-1]
    )  # over the reference of that fidelity


def test_paused_row_is_seen_as_what_it_is_expected_to_reach(tmp_path):
    asker = opened(tmp_path)
    proposal = asker.ask()
    asker.study.tell(proposal, trained(proposal, reach=lambda spec: 25.5))
    seen = next(
        row for row in asker.observer.observe(asker.study).rows if row.number == proposal.number
    )
    assert seen.quality == pytest.approx(25.5 - PSNRS[-1], abs=0.02)
    assert seen.std > 0
    assert asker.study._study.trials[-1].values[0] == pytest.approx(
        seen.quality
    )  # Optuna is told the same


def test_failure_on_the_way_leaves_the_row_without_a_psnr(tmp_path):
    asker = opened(tmp_path)
    proposal = asker.ask()
    record = trained(proposal)
    asker.study.tell(proposal, record)
    assert asker.study.list_paused(40) == [1]
    further = dataclasses.replace(proposal, record=record)
    asker.study.tell(
        further, dataclasses.replace(record, state="failed", quality=None, error="diverged: no")
    )
    again = opened(tmp_path)
    assert again.study.records[1].state == "failed"
    assert again.study.list_paused(40) == []


def test_projection_finds_the_line_and_its_spread():
    rng = np.random.default_rng(0)
    early = rng.uniform(-0.4, 0.1, 300)
    late = 1.6 * early + 0.05 + rng.normal(0, 0.02, 300)
    found = Projection.of(list(zip(early, late, strict=True)))
    assert found.slope == pytest.approx(1.6, abs=0.03)
    mean, std = found.at(-0.2)
    assert mean == pytest.approx(1.6 * -0.2 + 0.05, abs=0.01)
    assert std == pytest.approx(0.02, rel=0.15)
    assert found.at(5.0)[1] > 2 * std  # far from what was seen


def test_projection_of_too_few_trainings_says_that_it_does_not_know():
    assert Projection.of([]).at(0.1) == (0.1, 0.3)
    assert Projection.of([(-0.1, -0.1), (-0.1, -0.1)]).at(-0.1)[1] == 0.3


def test_projections_are_from_what_was_trained_to_the_end():
    found = projections([{10: -0.3, 40: -0.2}, {10: -0.1, 40: 0.0}, {10: 0.5}, {20: 0.1}], top=40)
    assert set(found) == {10, 20}
    assert found[10].count == 2
    assert found[20].count == 0


def config(rungs, probes=0, least_tau=0.5):
    return FidelityConfig(rungs=rungs, probes=probes, least_tau=least_tau)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probes": -1}, "fidelity.probes must be at least 0, got -1"),
        ({"least_tau": 1.5}, "fidelity.least_tau must be between -1 and 1, got 1.5"),
    ],
)
def test_other_values_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config([0.5], **changes)


def test_probes_are_trained_to_the_end_before_the_search_ends(tmp_path):
    """Without probes some of these twelve stay where they paused, as the test above sees."""
    asker = opened(tmp_path, num_probes=12)
    done = search(asker, 12)
    assert {(number, 10) for number in range(1, 13)} <= set(done)  # they pause as others do
    assert {asker.study.records[number].quality.fidelity for number in range(1, 13)} == {40}
    assert [steps for steps, _ in asker.study.records[2].quality.curve] == [10, 20, 40]
    trust = asker.study.state.trust
    assert [one.num_networks for one in trust.to_top] == [16, 16]  # and the four of the ladder
    assert [one.tau for one in trust.to_top] == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("reached", "is_last", "chosen"),
    [
        ({1: 10, 2: 10, 3: 10}, False, None),  # a probe would be more than a twentieth of all steps
        ({1: 10, 2: 10, **dict.fromkeys(range(3, 61), 10)}, False, 1),  # 30 steps of 600
        ({1: 20, 2: 20, **dict.fromkeys(range(3, 61), 10)}, False, None),  # 20 are spent
        ({1: 10, 2: 20, **dict.fromkeys(range(3, 61), 10)}, False, 2),  # the one that is furthest
        ({1: 40, 2: 10, **dict.fromkeys(range(3, 61), 10)}, False, None),
        ({1: 40, 2: 10}, True, 2),
        ({1: 40, 2: 40}, True, None),
    ],
)
def test_probe_goes_on_while_probes_take_a_twentieth_of_all_steps(reached, is_last, chosen):
    rungs = Rungs(fidelities=(10, 20, 40), probes=(1, 2), least_tau=0.5)
    paused = [number for number, steps in reached.items() if steps < 40]
    assert rungs.due_probe(reached, paused, is_last=is_last) == chosen


def test_trainings_do_not_pause_where_the_rung_ranks_otherwise_than_the_end(tmp_path):
    """At 10 steps the order of the probes is upside down."""
    asker = opened(tmp_path, num_probes=8, least_tau=0.5)
    for _ in range(8):
        proposal = asker.ask()
        record = trained(proposal, 40)
        (first, psnr), *others = record.quality.curve
        curve = ((first, 50 - psnr), *others)
        quality = dataclasses.replace(record.quality, curve=curve)
        asker.study.tell(proposal, dataclasses.replace(record, quality=quality))
    assert asker.find_stop(asker.ask()) == 20
    again = opened(tmp_path, num_probes=8, least_tau=0.5)
    assert again.find_stop(again.study.pending[0]) == 20


def test_fidelities_are_the_steps_of_the_rungs_and_the_end():
    assert config([]).fidelities(800) == (800,)
    assert config([0.125, 0.5]).fidelities(800) == (100, 400, 800)


@pytest.mark.parametrize("rungs", [[0.5, 0.25], [0.0], [1.0], [0.5, 0.5], [-0.1, 0.5]])
def test_rungs_that_do_not_rise_between_0_and_1_are_refused(rungs):
    with pytest.raises(ValueError, match=r"fidelity.rungs must be rising shares .*; such as"):
        config(rungs)


@pytest.mark.parametrize(("rungs", "steps"), [([0.1], 4), ([0.5, 0.52], 10)])
def test_rungs_that_fall_on_one_step_are_refused(rungs, steps):
    with pytest.raises(ValueError, match=r"fidelity.rungs=.* of proxy.steps=.*: each must be at"):
        config(rungs).fidelities(steps)
