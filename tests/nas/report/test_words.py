import dataclasses

import pytest

from nas.analysis.results import front_table, table
from nas.report.numbers import duration, fixed, giga, ratio, signed, whole
from nas.report.words import describe, headline, protocol, score_label, verdict_words
from search_spaces.published import names, published
from tests.nas.report import runs


def test_span_in_words():
    assert (
        describe(published("span")) == "6× spab 28 ch, SiLU, parameter-free attention · conv 28 ch"
    )


def test_spanv2_in_words_tells_what_leads_past_the_blocks():
    words = describe(published("spanv2"))
    assert "4× spab 32 ch, ReLU, conv1x1 attention" in words
    assert words.endswith("no stem · near skip")


@pytest.mark.parametrize("name", names())
def test_every_published_network_has_words_of_its_own(name):
    ids = {published(other).arch_id: describe(published(other)) for other in names()}
    assert list(ids.values()).count(describe(published(name))) == 1


def test_channels_that_differ_are_listed():
    spec = runs.rung_spec("16x3", 4)
    wider = dataclasses.replace(spec.blocks[1], args=dataclasses.replace(spec.blocks[1]).args)
    args = dict(wider.args) | {"channels": 24}
    blocks = (spec.blocks[0], type(wider).of("spab", **args), *spec.blocks[2:])
    assert "3× spab 16-24-16 ch" in describe(dataclasses.replace(spec, blocks=blocks))


def test_headline_counts_trials_front_and_verdict():
    state = runs.search(60)
    frame = table(state)
    size = int((frame["on_front"] == "yes").sum())
    words = headline(state, front_table(frame))
    trials = frame[(frame["number"] != 0) & (frame["state"] != "rejected")]
    assert words.startswith(f"{len(trials)} architectures tried, of which 4 failed")
    assert f"{size} are on the Pareto front of PSNR gain against runtime ratio" in words
    assert "the proxy can rank them" in words


def test_headline_counts_rejected_ones_apart():
    spec = runs.rung_spec("12x1", 4)
    rejected = runs.TrialRecord(number=2, state="rejected", spec=spec, error="params over limit")
    state = runs.run_state(
        [runs.complete(0), runs.complete(1, spec=spec), rejected], means=runs.POOR
    )
    words = headline(state, front_table(table(state)))
    assert words.startswith("1 architecture tried (1 more rejected before training)")
    assert "the baseline among them" in words
    assert "cannot rank" in words


def test_headline_of_a_run_without_trials_says_what_there_is():
    words = headline(runs.run_state([runs.complete(0)]), front_table(table(runs.run_state())))
    assert words.startswith(
        "No trial has finished yet: 12 ladder runs of the proxy done, the baseline measured"
    )


def test_verdict_that_fails_says_what_follows_and_what_to_run():
    words = verdict_words(runs.run_state(means=runs.POOR))
    for part in (
        "cannot rank",
        "feasibility is unknown",
        "best_score is refused",
        "knee",
        "longer proxy",
    ):
        assert part in words
    advised = runs.run_state(
        means=runs.POOR, settings={"longer_proxy": "nas search proxy=bsds_long"}
    )
    assert "What to run instead: nas search proxy=bsds_long." in verdict_words(advised)


def test_verdict_that_passes_and_one_that_is_not_known():
    assert verdict_words(runs.run_state()).startswith(
        "The ladder passes: in order for 3 of 3 seeds"
    )
    words = verdict_words(runs.run_state(ladder=runs.ladder()[:2]))
    assert "not complete (2 of 4 sizes trained)" in words
    assert "feasibility is unknown" in words


def test_score_label_says_how_many_readings_the_host_decided():
    def timed(number, flags):
        record = runs.complete(number)
        latency = dataclasses.replace(
            record.latency, mode="challenge", device="NVIDIA A100", flags=flags
        )
        return dataclasses.replace(record, latency=latency)

    records = [timed(0, ""), timed(1, "drifted,host_bound"), timed(2, "host_bound")]
    assert "2 of 3 readings host_bound: to issue a forward took" in score_label(
        runs.run_state(records)
    )
    assert "host_bound" not in score_label(runs.run_state(records[:1]))


def test_score_label_names_the_mode_and_warns_of_cpu_scores():
    cpu = score_label(runs.run_state([runs.complete(0)]))
    assert "score from CPU latency: compare within this run only" in cpu
    assert "cpu_eager" in cpu
    gpu = dataclasses.replace(runs.complete(0), latency=runs.latency(1.0, mode="cuda_eager"))
    label = score_label(runs.run_state([gpu]))
    assert "CPU" not in label
    assert "cuda_eager on NVIDIA RTX A6000" in label
    assert "no score" in score_label(runs.run_state())


def test_protocol_says_how_lr_was_made():
    told = {
        "train": "made from HR",
        "val": "not MATLAB bicubic: 9%",
        "test": "MATLAB bicubic, exact",
    }
    text = protocol(runs.run_state([], lr_origins=told))
    assert text.endswith("LR is not MATLAB bicubic: 9%. Test set: LR is MATLAB bicubic, exact.")
    assert "made from HR" not in text
    assert protocol(runs.run_state([])).endswith("mean of the per-image dB.")
    alike = {"val": "made from HR", "test": "made from HR"}
    assert protocol(runs.run_state([], lr_origins=alike)).count("made from HR") == 1


def test_protocol_names_the_border_of_the_scale():
    record = dataclasses.replace(runs.complete(0), spec=runs.rung_spec("28x6", 2))
    assert "a border of 2 pixels" in protocol(runs.run_state([record]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fixed(26.9444, 2, " dB"), "26.94 dB"),
        (fixed(float("nan"), 2), "–"),
        (signed(-0.0412, 3), "−0.041"),
        (signed(0.1, 1), "+0.1"),
        (whole(150688), "150,688"),
        (giga(9_832_267_776), "9.83 G"),
        (giga(2.5e7), "25.0 M"),
        (ratio(0.7312, 0.004), "0.731 ± 0.004"),
        (ratio(None, None), "–"),
        (duration(3.2), "3 s"),
        (duration(200), "3 min 20 s"),
        (duration(3900), "1 h 05 min"),
        (duration(-5), "0 s"),
    ],
)
def test_numbers(text, expected):
    assert text == expected


def test_groups_say_what_they_hold():
    first, others = describe(published("haesr")).split(" · ")
    assert first.startswith("group of hab 48 ch, esa attention")
    assert others.startswith("2× group of shab 48 ch, esa attention")
