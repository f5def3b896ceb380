import dataclasses
import math
import random

import numpy as np
import pandas as pd
import pytest

from nas.analysis.columns import CONTRACT_COLUMNS
from nas.analysis.membership import costs, explain_empty_front
from nas.analysis.picks import pick
from nas.analysis.results import front_table, table
from nas.record import TrialRecord
from tests.nas.report import runs
from tests.nas.report.runs import complete, run_state

CONTRACT = (  # DESIGN 3.3, word for word
    "number,state,arch_id,arch,fidelity,psnr_db,psnr_gain_db,runtime_ms,runtime_ratio,runtime_ci,params,flops,"
    "activations,memory_mib,score,feasible,on_front,latency_mode,device,train_seconds,error"
)


def spec_of(number):
    return runs.random_spec(random.Random(number))


def row(number, gain, ratio, **changes):
    return complete(number, gain=gain, ratio=ratio, **{"spec": spec_of(number)} | changes)


def ended(number, state):
    return TrialRecord(number=number, state=state, spec=spec_of(number), error="why")


def front_numbers(state):
    return set(table(state).query("on_front == 'yes'")["number"])


def test_columns_are_those_of_the_contract():
    frame = table(run_state([complete(0)]))
    assert ",".join(frame.columns).startswith(CONTRACT + ",")


@pytest.mark.parametrize(
    "records", [[], [ended(1, "rejected")], [ended(0, "failed"), ended(1, "failed")]]
)
def test_table_has_its_columns_when_nothing_is_complete(records):
    frame = table(run_state(records))
    assert len(frame) == len(records)
    assert front_table(frame).empty
    assert pd.api.types.is_float_dtype(frame["psnr_db"])


def test_front_is_what_nothing_dominates():
    state = run_state(
        [complete(0), row(1, 0.1, 1.2), row(2, -0.01, 0.8), row(3, -0.02, 0.9), row(4, 0.1, 1.3)]
    )
    assert front_numbers(state) == {0, 1, 2}


def test_front_keeps_equal_rows():
    state = run_state([complete(0), row(1, 0.02, 0.8), row(2, 0.02, 0.8)])
    assert front_numbers(state) == {1, 2}


def test_front_leaves_out_failed_and_rejected_rows():
    better = row(1, 0.5, 0.1)
    failed = dataclasses.replace(better, state="failed", error="RuntimeError: late")
    state = run_state([complete(0), failed, ended(2, "rejected")])
    assert front_numbers(state) == {0}


def test_front_leaves_out_infeasible_rows_and_what_they_would_have_dominated_stays():
    state = run_state(
        [complete(0), row(1, 0.5, 0.5), row(2, 0.1, 0.9)], limits={"runtime_ms": 61 * 0.95}
    )
    over = dataclasses.replace(state, limits={"psnr_db": 26.8})  # limits are upper limits
    assert front_numbers(state) == {1}
    assert front_numbers(over) == {2}


def test_front_holds_the_top_fidelity_only():
    low = row(1, 0.5, 0.1, fidelity=300)
    assert front_numbers(run_state([complete(0), low])) == {0}
    assert front_numbers(run_state([low])) == set()  # no gain: the ladder ran at another fidelity


def test_front_holds_the_top_fidelity_only_when_lower_ones_have_gains_too():
    state = run_state(
        [complete(0), row(1, 0.5, 0.1, fidelity=300)], objectives=("psnr_db", "runtime_ratio")
    )
    assert front_numbers(state) == {0}


def test_gain_is_to_the_reference_of_the_same_fidelity():
    lower = tuple(
        dataclasses.replace(run, fidelity=300, psnr_db=run.psnr_db - 1)
        for run in runs.ladder(noise=0)
    )
    state = run_state([complete(0), row(1, -1.0, 0.9, fidelity=300)])
    assert math.isnan(table(state)["psnr_gain_db"].iloc[1])
    both = dataclasses.replace(state, ladder=state.ladder + lower)
    assert table(both)["psnr_gain_db"].tolist() == pytest.approx([0.0, 0.0])


def test_front_waits_for_the_reference_when_the_ladder_has_not_reached_it():
    state = run_state([complete(0), row(1, 0.1, 0.9)], ladder=())
    assert front_numbers(state) == set()
    assert front_numbers(dataclasses.replace(state, objectives=("psnr_db", "params"))) != set()


@pytest.mark.parametrize(
    "objectives", [("psnr_gain_db", "runtime_ratio"), ("psnr_db", "params", "flops")]
)
def test_front_equals_the_definition(objectives):
    frame = table(runs.search(80, objectives=objectives))
    pool = frame[(frame["state"] == "complete") & (frame["feasible"] != "no")]
    values = costs(pool, objectives)
    kept = [not any((b <= a).all() and (b < a).any() for b in values) for a in values]
    assert (pool["on_front"] == "yes").tolist() == kept


def read_under(number, **changes):
    record = row(number, 0.1 * number, 0.5)
    return dataclasses.replace(record, latency=dataclasses.replace(record.latency, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "another"},
        {"mode": "graph"},
        {"dtype": "float16"},
        {"sizes": "1080x1920"},
        {"threads": 2},
    ],
)
def test_a_row_that_was_timed_otherwise_never_shares_the_front(changes):
    records = [complete(0), row(1, 0.05, 0.6), read_under(2, **changes)]
    state = run_state(records)
    assert front_numbers(state) == {1}
    assert table(state)["ties"].iloc[2] == ""
    untimed = dataclasses.replace(state, objectives=("psnr_gain_db", "params"))
    assert 2 in front_numbers(untimed)


def test_ties_are_the_rows_of_the_front_whose_runtime_intervals_overlap():
    """Every interval is +- 0.006, the baseline's 0."""
    records = [
        complete(0),
        row(1, 0.1, 1.005),
        row(2, 0.2, 1.012),
        row(3, 0.3, 1.03),
        row(4, -0.1, 1.02),
    ]
    frame = table(run_state(records))
    assert frame.query("on_front == 'yes'")["number"].tolist() == [0, 1, 2, 3]
    assert frame["ties"].tolist() == ["1", "0 2", "1", "", "2 3"]
    params = table(run_state(records, objectives=("psnr_gain_db", "params")))
    assert set(params["ties"]) == {""}


def test_flags_and_first_image_are_columns():
    record = complete(0)
    latency = dataclasses.replace(
        record.latency, flags="disturbed", first_ms=122.0, baseline_first_ms=61.0
    )
    frame = table(run_state([dataclasses.replace(record, latency=latency), row(1, 0.1, 0.9)]))
    assert frame["latency_flags"].tolist() == ["disturbed", ""]
    assert frame["first_ms"].iloc[0] == 122.0
    assert frame["ratio_with_first"].iloc[0] == pytest.approx(101 / 100)
    assert frame["first_ms"].isna().tolist() == [False, True]


def test_host_time_is_a_column_after_those_of_the_contract():
    record = complete(0)
    latency = dataclasses.replace(record.latency, host_ms=0.5, baseline_host_ms=0.4)
    frame = table(run_state([dataclasses.replace(record, latency=latency), row(1, 0.1, 0.9)]))
    assert (frame["host_ms"].iloc[0], frame["baseline_host_ms"].iloc[0]) == (0.5, 0.4)
    assert frame["host_ms"].isna().tolist() == [False, True]
    assert list(frame.columns[: len(CONTRACT_COLUMNS)]) == [
        column.name for column in CONTRACT_COLUMNS
    ]


def test_costs_turn_psnr_round():
    frame = table(run_state([row(1, 0.1, 0.9)]))
    assert costs(frame, ("psnr_gain_db", "runtime_ratio"))[0] == pytest.approx([-0.1, 0.9])


def test_front_table_has_the_best_score_first():
    scores = front_table(table(runs.search(60)))["score"].tolist()
    assert len(scores) > 3
    assert scores == sorted(scores)


def test_baseline_scores_e_squared_and_others_by_the_formula():
    frame = table(run_state([complete(0), row(1, 0.0, 0.6)]))
    share = frame["params"].iloc[1] / frame["params"].iloc[0]
    by_hand = 0.8 * math.exp(1.2) + 0.2 * math.exp(
        2 * share
    )  # FLOPs go with parameters in these runs
    assert frame["score"].tolist() == pytest.approx([math.e**2, by_hand], rel=1e-12)


def test_every_complete_row_has_a_score_whatever_feasible_says():
    frame = table(runs.search(60, limits={"params": 50e3}))
    complete_rows = frame[frame["state"] == "complete"]
    assert set(complete_rows["feasible"]) >= {"no"}
    assert complete_rows["score"].notna().all()


@pytest.mark.parametrize(
    ("means", "gain", "limits", "expected"),
    [
        (runs.GOOD, -0.03, {}, "yes"),
        (runs.GOOD, -0.04, {}, "yes"),  # the gate itself passes
        (runs.GOOD, -0.05, {}, "no"),
        (runs.POOR, -0.05, {}, "unknown"),  # the gate is not believed
        (runs.POOR, 0.50, {}, "unknown"),
        (runs.POOR, 0.50, {"runtime_ratio": 0.8}, "no"),  # a limit needs no ladder
        (runs.GOOD, 0.50, {"runtime_ratio": 0.8}, "no"),
        (runs.GOOD, 0.50, {"runtime_ratio": 0.9}, "yes"),  # a limit may be reached
        (runs.GOOD, -0.05, {"runtime_ratio": 0.9}, "no"),
    ],
)
def test_feasible(means, gain, limits, expected):
    state = run_state([row(1, gain, 0.9, reference=means[-1])], means=means, limits=limits)
    assert state.can_rank is (means is runs.GOOD)
    assert table(state)["feasible"].tolist() == [expected]


def test_a_rejected_row_is_not_feasible_and_a_failed_one_is_unknown():
    frame = table(run_state([ended(1, "rejected"), ended(2, "failed")]))
    assert frame["feasible"].tolist() == ["no", "unknown"]


def test_feasible_is_unknown_while_the_ladder_is_not_complete():
    state = run_state([row(1, 0.1, 0.9)], ladder=runs.ladder()[:3])
    assert state.verdict is None
    assert table(state)["feasible"].tolist() == ["unknown"]


def test_feasible_is_unknown_where_a_limited_column_was_not_measured():
    record = dataclasses.replace(row(1, 0.1, 0.9), latency=None)
    assert table(run_state([record], limits={"runtime_ms": 50.0}))["feasible"].tolist() == [
        "unknown"
    ]
    assert table(run_state([record], limits={"params": 1.0, "runtime_ms": 50.0}))[
        "feasible"
    ].tolist() == ["no"]


@pytest.fixture
def picked():
    """The baseline, a fast small one below the gate, two that pass, one large."""
    small, large = runs.rung_spec("12x1", 4), runs.rung_spec("36x7", 4)
    return [
        complete(0),
        complete(1, gain=-0.30, ratio=0.2, spec=small),
        complete(2, gain=-0.03, ratio=0.6, spec=runs.rung_spec("24x5", 4)),
        complete(3, gain=-0.01, ratio=0.7, spec=runs.rung_spec("24x6", 4)),
        complete(4, gain=0.10, ratio=1.6, spec=large),
    ]


@pytest.mark.parametrize(
    ("which", "number"),
    [
        ("best_score", 2),
        ("fastest", 2),
        ("smallest", 2),
        ("best_psnr", 4),
        ("knee", 3),
        ("1", 1),
        ("0", 0),
    ],
)
def test_pick(picked, which, number):
    assert pick(run_state(picked), which).number == number


@pytest.mark.parametrize(
    ("which", "number"), [("fastest", 1), ("smallest", 1), ("best_psnr", 4), ("knee", 2)]
)
def test_pick_works_without_a_gate_when_the_proxy_cannot_rank(picked, which, number):
    state = run_state(
        picked, ladder=tuple(dataclasses.replace(r, seed=0) for r in runs.ladder(seeds=1, noise=0))
    )
    assert not state.can_rank
    assert pick(state, which).number == number


def test_pick_refuses_best_score_in_one_line_when_the_proxy_cannot_rank(picked):
    with pytest.raises(ValueError, match="best_score") as error:
        pick(run_state(picked, means=runs.POOR), "best_score")
    text = str(error.value)
    assert "\n" not in text
    assert "cannot rank" in text
    assert "knee" in text
    assert "trial number" in text


def test_pick_refuses_best_score_before_the_ladder_is_complete(picked):
    with pytest.raises(ValueError, match="ladder is not complete"):
        pick(
            run_state(picked, ladder=tuple(run for run in runs.ladder() if run.rung != "12x1")),
            "best_score",
        )


def test_pick_refuses_best_score_when_nothing_passes(picked):
    state = run_state(picked[1:2] + picked[:1], limits={"params": 1.0})
    with pytest.raises(ValueError, match="finished trial"):
        pick(state, "best_score")


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("best", "best_score, knee, fastest, smallest, best_psnr or a trial number"),
        ("9", "has no trial 9; it has 0 to 4"),
    ],
)
def test_pick_names_what_is_allowed(picked, which, message):
    with pytest.raises(ValueError, match=message):
        pick(run_state(picked), which)


@pytest.mark.parametrize(
    ("which", "message"), [("knee", "no trial has finished yet"), ("0", "has none yet")]
)
def test_pick_of_an_empty_run_says_so(which, message):
    with pytest.raises(ValueError, match=message):
        pick(run_state(), which)


def test_report_psnr_stands_beside_its_architecture():
    record = complete(0)
    frame = table(run_state([record, row(1, 0, 1)], test_psnr_db={record.spec.arch_id: 27.5}))
    assert frame["test_psnr_db"].iloc[0] == 27.5
    assert np.isnan(frame["test_psnr_db"].iloc[1])


def test_an_empty_front_says_what_keeps_its_trials_away(picked):
    """Two below the gate, the nearest named; one over a limit too."""
    state = run_state(picked, limits={"params": 1.0})
    message = explain_empty_front(table(state), state)
    finished = sum(record.state == "complete" and record.number > 0 for record in picked)
    assert f"none of the {finished} finished trials is on the front" in message
    assert "over limits.params=1" in message
    assert explain_empty_front(table(run_state(picked)), run_state(picked)) == ""
