import contextlib
import dataclasses
import io

import pytest
from rich.console import Console

from nas.analysis import results
from nas.report.terminal import Display, summary
from tests.nas.report import runs


def console(*, terminal, width=140):
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def update(display, state, **changes):
    given = {"running": {}, "trials_wanted": 60, "seconds_left": 100.0} | changes
    display.update(state, **given)


def lines(where):
    return where.file.getvalue().splitlines()


def steps(state):
    """The state as it grows: ladder run by ladder run, then record by record, then the notices."""
    empty = dataclasses.replace(state, ladder=(), records=(), notices=())
    yield empty
    for done in range(1, len(state.ladder) + 1):
        yield dataclasses.replace(empty, ladder=state.ladder[:done])
    for done in range(1, len(state.records) + 1):
        yield dataclasses.replace(empty, ladder=state.ladder, records=state.records[:done])
    yield state


def test_pipe_gets_one_line_for_each_thing_that_ended():
    state, where = runs.search(20), console(terminal=False)
    with Display(where) as display:
        for step in steps(state):
            update(display, step)
            update(display, step)
    printed = lines(where)
    assert len(printed) == 12 + 1 + 21 + 2  # ladder, its verdict, trials and baseline, notices
    assert sum(line.startswith("ladder 28x6 seed 1:") for line in printed) == 1
    assert sum(line.startswith("trial 7 ") for line in printed) == 1
    assert sum(line.startswith("note: ") for line in printed) == 2
    assert next(line for line in printed if line.startswith("baseline complete"))


def test_pipe_line_of_a_failed_trial_keeps_its_text_on_one_line():
    record = runs.TrialRecord(
        number=3, state="failed", spec=runs.SPAN, error="[red]ValueError[/red]: a\nb " + "x" * 300
    )
    where = console(terminal=False, width=40)
    with Display(where) as display:
        update(display, runs.run_state([record], ladder=()))
    assert lines(where) == ["trial 3 failed: [red]ValueError[/red]: a b " + "x" * 300]


def test_pipe_does_not_tell_again_what_an_earlier_process_told():
    state, where = runs.search(20), console(terminal=False)
    before = dataclasses.replace(state, records=state.records[:10])
    with Display(where, known=before) as display:
        update(display, before)
        assert lines(where) == []
        update(display, state)
    assert [line.split()[1] for line in lines(where)] == [str(number) for number in range(10, 21)]


@pytest.mark.parametrize("width", [60, 140])
def test_screen_shows_progress_front_verdict_and_what_runs(width):
    where = console(terminal=True, width=width)
    with Display(where) as display:
        update(display, runs.search(20), running={21: "step 300 of 600"}, seconds_left=3900)
    text = " ".join(where.file.getvalue().split())
    assert any(line.startswith("Front of") for line in lines(where))
    for part in (
        "20 of 60 trials",
        "1 failed",
        "1 h 05 min left",
        "Front of",
        "ladder passes",
        "trial 21: step 300",
    ):
        assert part in text


@pytest.mark.parametrize("width", [30, 40, 71])
def test_narrow_screen_cuts_no_number(width):
    where = console(terminal=True, width=width)
    where.print(summary(runs.search(20)))
    text = " ".join(where.file.getvalue().split())
    assert "…" not in text
    front = results.front_table(results.table(runs.search(20)))
    for row in front.to_dict("records"):
        assert f"score {row['score']:.3f}," in text


def test_screen_follows_the_state():
    where = console(terminal=True)
    with Display(where) as display:
        for step in steps(runs.search(6)):
            update(display, step, trials_wanted=None, seconds_left=None)
    assert "6 trials" in where.file.getvalue()


def test_display_stops_its_screen_when_the_search_is_interrupted():
    where = console(terminal=True)
    with contextlib.suppress(KeyboardInterrupt), Display(where) as display:
        update(display, runs.run_state())
        raise KeyboardInterrupt
    assert where.file.getvalue().endswith("\x1b[?25h")  # the cursor is back


@pytest.mark.parametrize(
    ("means", "parts"),
    [
        (runs.GOOD, ("best score first", "The ladder passes", "compare within this run only")),
        (
            runs.POOR,
            ("lowest score first", "cannot rank", "best_score is refused", "proxy=bsds_long"),
        ),
    ],
)
def test_summary(means, parts):
    where = console(terminal=False)
    where.print(summary(runs.search(30, means=means)))
    text = " ".join(where.file.getvalue().split())
    for part in ("30 architectures tried", "PSNR on the val set: RGB", *parts):
        assert part in text


def test_summary_of_an_empty_run():
    where = console(terminal=False)
    where.print(summary(runs.run_state(ladder=())))
    assert "No trial has finished yet" in where.file.getvalue()
