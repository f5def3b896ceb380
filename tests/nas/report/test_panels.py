import dataclasses

import numpy as np
import plotly.graph_objects as go
import pytest

from nas.analysis.membership import costs
from nas.analysis.pareto import hypervolume
from nas.analysis.results import table as result_table
from nas.record import TrialRecord
from nas.report.panels import PANELS, front, ladder, pareto, progress, settings, trials
from tests.nas.report import runs
from tests.nas.report.runs import complete, run_state

STATES = {
    "nothing": run_state(ladder=()),
    "ladder only": run_state(),
    "baseline only": run_state([complete(0)]),
    "baseline before the ladder": run_state([complete(0)], ladder=()),
    "one failed": run_state([TrialRecord(number=1, state="failed", spec=runs.SPAN, error="x")]),
    "can rank": runs.search(40),
    "cannot rank": runs.search(40, means=runs.POOR),
    "rejected": runs.search(40, limit=150_000),
    "one objective": runs.search(40, objectives=("params",)),
    "four objectives": runs.search(20, objectives=("psnr_db", "params", "flops", "runtime_ms")),
    "no psnr": runs.search(20, objectives=("params", "runtime_ratio")),
}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.TITLE)
@pytest.mark.parametrize("name", STATES)
def test_panel_draws_any_run(panel, name):
    state = STATES[name]
    table = panel.table(state)
    before = table.copy()
    parts = panel.draw(table, state)
    assert parts
    assert all(isinstance(part, go.Figure | str) for part in parts)
    assert panel.note(state)
    assert table.equals(before)


def test_panels_have_titles_of_their_own():
    assert len({panel.TITLE for panel in PANELS}) == len(PANELS)


@pytest.mark.parametrize(
    ("objectives", "axes"),
    [
        (("psnr_gain_db", "runtime_ratio"), ("runtime_ratio", "psnr_gain_db")),
        (("runtime_ms", "psnr_db"), ("runtime_ms", "psnr_db")),
        (("params", "flops", "psnr_db"), ("params", "flops")),
        (("psnr_gain_db",), ("runtime_ratio", "psnr_gain_db")),
        (("runtime_ratio",), ("runtime_ratio", "params")),
    ],
)
def test_pareto_axes(objectives, axes):
    assert pareto.axes(objectives) == axes


def test_pareto_roles():
    below = complete(1, gain=-0.5, ratio=0.1, spec=runs.rung_spec("12x1", 4))
    low = complete(2, gain=0.1, ratio=0.9, spec=runs.rung_spec("16x3", 4), fidelity=300)
    best = complete(3, gain=0.2, ratio=0.8, spec=runs.rung_spec("20x4", 4))
    worse = complete(4, gain=0.1, ratio=0.9, spec=runs.rung_spec("20x5", 4))
    state = run_state(
        [complete(0), below, low, best, worse], objectives=("psnr_db", "runtime_ratio")
    )
    table = pareto.table(state)
    roles = dict(zip(table["number"], table["role"], strict=True))
    assert roles == {0: "baseline", 1: "infeasible", 2: "lower fidelity", 3: "front", 4: "trial"}


def drawn(state):
    return pareto.draw(pareto.table(state), state)[0]


def test_pareto_step_line_goes_through_the_front_alone():
    state = runs.search(60)
    line = next(trace for trace in drawn(state).data if trace.mode == "lines")
    members = front.table(state)
    assert sorted(line.x) == sorted(members["runtime ratio"])
    assert list(line.x) == sorted(line.x)
    assert list(line.y) == sorted(line.y)  # up and to the right: the front's own shape
    assert line.line.shape == "hv"


def test_pareto_has_no_step_line_for_three_objectives():
    assert not any(trace.mode == "lines" for trace in drawn(STATES["four objectives"]).data)


@pytest.mark.parametrize(
    ("name", "text"), [("can rank", "gate −0.04 dB"), ("cannot rank", "not believed")]
)
def test_pareto_gate_line_says_whether_it_is_believed(name, text):
    figure = drawn(STATES[name])
    assert [shape.y0 for shape in figure.layout.shapes] == [-0.04]
    assert figure.layout.annotations[0].text.endswith(text)
    assert (figure.layout.shapes[0].line.dash == "dot") is (name == "cannot rank")


def test_pareto_hover_tells_all_and_escapes():
    spec = runs.rung_spec("16x3", 4)
    spec = dataclasses.replace(
        spec, fusion=runs.BlockSpec.of("conv"), blocks=(runs.BlockSpec.of("<b>&"), *spec.blocks[1:])
    )
    state = run_state([complete(0), complete(5, gain=0.2, ratio=0.75, spec=spec)])
    text = next(trace for trace in drawn(state).data if trace.name == "front").hovertext[0]
    for part in (
        "trial 5",
        spec.arch_id,
        "&lt;b&gt;&amp;",
        "parameters",
        "FLOPs",
        "ratio 0.750 ± 0.006",
        "+0.200 dB",
    ):
        assert part in text
    assert "score" in text
    assert "feasible: yes" in text
    assert "<b>&" not in text


def test_front_table_is_the_front_best_score_first():
    state = runs.search(60, test_psnr_db={runs.SPAN.arch_id: 27.0})
    table = front.table(state)
    frame = result_table(state)
    assert set(table["trial"]) == set(frame.query("on_front == 'yes'")["number"])
    assert table["score"].tolist() == sorted(table["score"])
    assert "test PSNR (dB)" in table
    assert "test PSNR (dB)" not in front.table(runs.search(10))


def test_front_note_labels_cpu_scores_and_a_proxy_that_cannot_rank():
    assert "score from CPU latency: compare within this run only" in front.note(STATES["can rank"])
    assert "not the best" in front.note(STATES["cannot rank"])
    assert "not the best" not in front.note(STATES["can rank"])


def test_ladder_table_has_a_row_a_rung_and_a_column_a_seed():
    table = ladder.table(run_state())
    assert table["rung"].tolist() == ["12x1", "16x3", "20x4", "28x6"]
    assert table["mean (dB)"].tolist() == pytest.approx(list(runs.GOOD))
    assert [name for name in table if name.startswith("seed ")] == [
        "seed 0 (dB)",
        "seed 1 (dB)",
        "seed 2 (dB)",
    ]


def test_ladder_table_leaves_gaps_while_it_runs():
    table = ladder.table(run_state(ladder=runs.ladder()[:6]))
    assert table["seed 1 (dB)"].notna().tolist() == [True, True, False, False]
    assert table["deviation (dB)"].notna().tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("name", "look"), [("can rank", "passes"), ("cannot rank", "fails"), ("nothing", "unknown")]
)
def test_ladder_panel_says_the_verdict_in_words(name, look):
    words = ladder.draw(ladder.table(STATES[name]), STATES[name])[0]
    assert f"verdict {look}" in words


def test_progress_falls_and_the_volume_grows_to_that_of_the_front():
    state = STATES["can rank"]
    table = progress.table(state)
    best = table["best_score"].dropna()
    assert best.is_monotonic_decreasing
    assert table["hypervolume"].is_monotonic_increasing
    frame = result_table(state)
    members = frame[frame["on_front"] == "yes"]
    point = progress.reference(state, frame)
    corner = [-point["psnr_gain_db"], point["runtime_ratio"]]
    assert table["hypervolume"].iloc[-1] == pytest.approx(
        hypervolume(costs(members, state.objectives), corner)
    )
    assert table["hypervolume"].iloc[-1] > table["hypervolume"].iloc[0] > 0


def test_progress_reference_is_the_base_and_twice_the_baseline():
    state = STATES["can rank"]
    frame = result_table(state)
    point = progress.reference(state, frame)
    span_db = np.mean([run.psnr_db for run in state.ladder if run.rung == "28x6"])
    assert point == pytest.approx({"psnr_gain_db": runs.BASE_DB - span_db, "runtime_ratio": 2.0})
    other = dataclasses.replace(state, objectives=("psnr_db", "params"))
    assert progress.reference(other, frame) == {
        "psnr_db": runs.BASE_DB,
        "params": 2.0 * frame["params"].iloc[0],
    }


def test_progress_says_its_reference_without_powers_of_ten():
    goals = ("psnr_gain_db", "params", "flops", "runtime_ratio")
    state = dataclasses.replace(STATES["can rank"], objectives=goals)
    words = progress.note(state)
    first = result_table(state).iloc[0]
    assert f"parameters {2 * first['params']:,}, FLOPs (MAC) {2 * first['flops']:,}" in words
    assert "e+" not in words


def test_progress_volume_by_hand():
    """Baseline: 1.5 dB over the base at ratio 1; a point at half its ratio adds a box."""
    half = complete(1, gain=-0.5, ratio=0.5, spec=runs.rung_spec("16x3", 4))
    beyond = complete(2, gain=1.0, ratio=2.5, spec=runs.rung_spec("20x4", 4))
    state = run_state([complete(0), half, beyond], means=runs.POOR)
    records = tuple(
        dataclasses.replace(
            r, quality=dataclasses.replace(r.quality, psnr_db=r.quality.psnr_db - 0.33)
        )
        for r in state.records
    )
    state = dataclasses.replace(state, records=records)  # the baseline ends at the ladder's 28x6
    assert progress.table(state)["hypervolume"].tolist() == pytest.approx(
        [1.17, 1.17 + 0.67 * 0.5, 1.17 + 0.67 * 0.5]
    )


def test_progress_counts_failed_trials_and_not_rejected_ones():
    spec = runs.rung_spec("12x1", 4)
    ends = [TrialRecord(number=n, state=s, spec=spec) for n, s in ((1, "failed"), (2, "rejected"))]
    table = progress.table(run_state([complete(0), *ends, complete(3, spec=spec)]))
    assert table["trials"].tolist() == [0, 1, 2]
    assert table["number"].tolist() == [0, 1, 3]


def test_progress_best_score_needs_the_gate_where_it_is_believed():
    low = complete(1, gain=-0.5, ratio=0.2, spec=runs.rung_spec("12x1", 4))
    believed = progress.table(run_state([complete(0), low]))
    assert believed["best_score"].tolist() == pytest.approx([np.e**2] * 2)
    state = run_state([complete(0), low], means=runs.POOR)
    assert progress.table(state)["best_score"].iloc[1] < 3
    assert "no best score" in progress.note(state)
    assert (
        progress.draw(progress.table(state), state)[0].layout.title.text
        == "lowest score, PSNR not considered"
    )


def test_trials_shows_every_record_with_its_reason():
    state = runs.search(60)
    table = trials.table(state)
    assert table["trial"].tolist() == [record.number for record in state.records]
    assert table.set_index("trial")["reason"][5].startswith("RuntimeError: loss is nan")


def test_trials_escapes_errors():
    text = trials.draw(trials.table(runs.search(60)), runs.search(60))[0]
    assert "<script>" not in text
    assert "&lt;script&gt;alert(" in text


def test_settings_flattens_and_shows_notices():
    state = runs.search(5, notices=("<i>mind</i>",))
    table = settings.table(state).set_index("setting")["value"]
    assert table["proxy.steps"] == "600"
    assert table["limits.params"] == "at most 300000"
    assert "&lt;i&gt;mind" in settings.draw(settings.table(state), state)[0]


def test_settings_say_objectives_in_words_whatever_is_stored():
    goals = ("psnr_gain_db", "params", "flops", "runtime_ratio")
    stored = {
        "objectives": list(goals),
        "inherit": False,
        "start": [],
        "latency.sizes": [[64, 64]],
        "longer_proxy": "x",
    }
    state = dataclasses.replace(runs.search(5), objectives=goals, settings=stored)
    table = settings.table(state).set_index("setting")["value"]
    assert table["objectives"] == (
        "PSNR gain (dB), larger is better: psnr_gain_db; parameters, smaller is better: params; "
        "FLOPs (MAC), smaller is better: flops; runtime ratio, smaller is better: runtime_ratio"
    )
    assert table["inherit"] == "false"
    assert table["start"] == "none"
    assert table["latency.sizes"] == "[[64, 64]]"
    assert list(table.index).count("objectives") == 1
    assert "longer_proxy" not in table.index
