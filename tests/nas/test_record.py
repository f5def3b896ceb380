import dataclasses
import json
import random

import pytest

from nas.record import GOALS, TrialRecord
from tests.nas.report import runs


@pytest.mark.parametrize("seed", range(5))
def test_record_comes_back_from_json(seed):
    spec = runs.random_spec(random.Random(seed))
    record = runs.complete(7, gain=0.1 + seed / 3, ratio=0.7 / 3, spec=spec)
    again = TrialRecord.from_json(record.to_json())
    assert again == record
    assert again.quality.psnr_db == record.quality.psnr_db  # to the last digit


def test_record_keeps_what_was_not_measured_and_any_error_text():
    text = 'RuntimeError: "quotes",\nnew line, \u00e4 and </script>'
    record = TrialRecord(number=3, state="failed", spec=runs.SPAN, cost=runs.cost(runs.SPAN), error=text)
    again = TrialRecord.from_json(record.to_json())
    assert again == record
    assert again.latency is None
    assert again.quality is None
    assert "\n" not in record.to_json()  # one line of the journal


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_record_refuses_a_number_that_json_cannot_hold(value):
    record = runs.complete(1)
    broken = dataclasses.replace(record, quality=runs.quality(value))
    with pytest.raises(ValueError, match="JSON compliant"):
        broken.to_json()


def test_record_json_is_plain_data():
    data = json.loads(runs.complete(2).to_json())
    assert data["number"] == 2
    assert data["spec"]["scale"] == 4
    assert data["latency"]["mode"] == "cpu_eager"


def test_goals_maximise_psnr_alone():
    assert {name for name, goal in GOALS.items() if goal.direction == "maximize"} == {
        "psnr_db",
        "psnr_gain_db",
    }
    assert all(goal.name == name for name, goal in GOALS.items())
