"""How far the data last, in the words and panels of a run."""

import dataclasses

import pytest

from nas.analysis.lasting import LongerPlan
from nas.analysis.picks import pick
from nas.analysis.results import front_table, table
from nas.analysis.run_state import Retrained
from nas.report.lasting_words import doubt_steps, lasting_words
from nas.report.panels import ladder, trust
from nas.report.words import headline, verdict_words
from tests.nas.report import runs

LASTS = (26.3, 26.5, 26.65, 26.85)
CURVES = {
    "lasts": ((150, 25.9), (300, 26.2), (600, 26.4), (1200, 26.6), (2400, 26.85)),
    "used up later": ((150, 25.9), (300, 26.2), (600, 26.4), (1200, 27.0), (2400, 26.85)),
    "used up": ((150, 25.9), (300, 27.2), (600, 26.9), (1200, 26.8), (2400, 26.85)),
}


def state_of(curve, psnrs_db=LASTS, **changes):
    """A run whose ladder, of 600 steps, was trained for 2,400 too."""
    longer = [
        dataclasses.replace(run, psnr_db=psnr_db, fidelity=2400, curve=CURVES[curve])
        for run, psnr_db in zip(runs.ladder(seeds=1), psnrs_db, strict=True)
    ]
    values = {
        "longer_plan": LongerPlan(steps=2400),
        "longer_ladder": tuple(longer),
        "ladder": runs.ladder(noise=0.01),
    }
    return runs.run_state(
        [runs.complete(0), runs.complete(1, gain=0.01, ratio=0.5)], **values | changes
    )


def test_data_that_last_are_said_to_and_how_far_that_was_seen():
    words = verdict_words(state_of("lasts"))
    assert words.startswith("The ladder passes: in order for 3 of 3 seeds")
    assert "at 2,400 steps in order too, spread 0.55 dB" in words
    assert "More steps still gain (28x6 +0.30 dB from 600 to 2,400)" in words
    assert "longer was not tried" in words


def test_data_that_are_used_up_later_leave_the_gate_and_say_where():
    state = state_of("used up later")
    assert state.can_rank
    assert pick(state, "best_score").number == 1
    assert (
        "More steps stop to gain after 1,200 of 2,400 (28x6 has 27.000 dB there, 26.850 dB at the "
        "end): the data are used up; no fidelity longer than that decides anything."
    ) in verdict_words(state)


def test_data_that_are_used_up_before_offer_no_best_score():
    state = state_of("used up")
    assert not state.can_rank
    assert set(table(state)["feasible"]) == {"unknown"}
    words = verdict_words(state)
    assert words.startswith(
        "This fidelity cannot rank architectures by PSNR: the data are used up before its trainings"
    )
    assert "after 300 of 2,400" in words
    assert "What to run instead: data that last longer" in words
    assert words.endswith("(data.synthetic=0.5), or at most 300 proxy.steps.")
    assert "its ladder fails; the data are used up after 300 steps" in headline(
        state, front_table(table(state))
    )
    with pytest.raises(ValueError, match=r"the data are used up before .* data that last longer"):
        pick(state, "best_score")
    assert pick(state, "knee").number == 1


def test_order_that_turns_round_offers_no_best_score():
    state = state_of("lasts", psnrs_db=(26.3, 26.9, 26.87, 26.85))
    assert not state.can_rank
    assert "at 2,400 steps the sizes do not come out in order any more" in verdict_words(state)
    assert "longer proxy" in verdict_words(state)  # the data last: longer trainings may rank


def test_ladder_whose_longer_trainings_are_missing_is_not_complete():
    state = state_of("lasts")
    state = dataclasses.replace(state, longer_ladder=state.longer_ladder[2:])
    assert state.verdict is None
    assert "not complete (2 of 4 sizes trained for 2,400 steps)" in verdict_words(state)
    assert lasting_words(state) == ""
    assert doubt_steps(state, 600) == ""
    with pytest.raises(ValueError, match="its ladder is not complete"):
        pick(state, "best_score")


def test_what_was_not_checked_is_said_with_its_reason():
    state = state_of("lasts", longer_plan=LongerPlan(reason="ladder_long=false"))
    assert state.can_rank
    assert verdict_words(state).endswith(
        "How far the data last was not checked (ladder_long=false)."
    )
    assert "after 0 steps" not in str(ladder.draw(ladder.table(state), state))


@pytest.mark.parametrize(
    ("curve", "steps", "words"),
    [
        ("lasts", (600,), ""),
        ("lasts", (2400,), ""),
        ("lasts", (12_000,), "seen to last for 2,400 steps; whether they last for 12,000 is not"),
        ("used up later", (600, 1200), ""),
        ("used up later", (12_000,), "Trainings of 12,000 steps show how networks use them up"),
        ("used up", (150, 300), ""),
        ("used up", (150, 300, 450, 600), "Trainings of 450, 600 steps show how networks use"),
    ],
)
def test_steps_beyond_what_the_data_last_for_are_doubted(curve, steps, words):
    doubt = doubt_steps(state_of(curve), *steps)
    assert words in doubt
    assert bool(words) is bool(doubt)


def test_ladder_panel_shows_longer_trainings_and_how_far_the_largest_gains():
    state = state_of("used up later")
    rows = ladder.table(state)
    assert rows["after 2,400 steps (dB)"].tolist() == [*LASTS]
    words, shown, drawing, *readings = ladder.draw(rows, state)
    assert "the data are used up" in words
    assert "after 2,400 steps (dB)" in shown
    assert [trace.name for trace in drawing.data][-1] == "after 2,400 steps"
    assert "28x6 along a training of 2,400 steps" in readings[0]
    assert readings[1].count("<tr") == 1 + len(CURVES["used up later"])


def test_trust_panel_doubts_rungs_and_longer_trainings():
    member = Retrained(
        number=1, arch_id="0" * 12, fidelity=600, psnr_db=26.5, steps=12_000, long_psnr_db=26.4, seconds=1.0
    )  # fmt: skip
    rungs = tuple(
        dataclasses.replace(run, curve=((300, 26.0), (600, run.psnr_db)))
        for run in runs.ladder(noise=0.01)
    )
    state = state_of("used up", ladder=rungs, retrained=(member,))
    assert "Trainings of 600 steps show" in trust.note(state)
    (_, words, _) = trust.draw(trust.table(state), state)
    assert "Trainings of 12,000 steps show how networks use them up" in words
