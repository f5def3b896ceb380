import dataclasses
import json
import random

import pytest

from nas.record import Quality, TrialRecord
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
    record = TrialRecord(
        number=3, state="failed", spec=runs.SPAN, cost=runs.cost(runs.SPAN), error=text
    )
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


LATENCY = runs.complete(1).latency


def latency(ratio, ci, **changes):
    return dataclasses.replace(LATENCY, ratio=ratio, ci=ci, **changes)


def test_pooled_latency_counts_readings_by_their_precision():
    found = latency(0.5, 0.01).pooled(latency(0.6, 0.02))
    assert found.ratio == pytest.approx(0.52)
    assert found.ci == pytest.approx(0.01 * 0.8**0.5)
    assert found.rounds == 2 * LATENCY.rounds
    assert latency(1.0, 0.0).pooled(latency(1.0, 0.0)).ratio == 1.0


def test_latencies_of_other_conditions_are_not_pooled():
    with pytest.raises(ValueError, match="cannot be pooled"):
        latency(0.5, 0.01).pooled(latency(0.5, 0.01, threads=7))


def test_quality_with_more_seeds_is_their_mean():
    first = Quality(psnr_db=26.0, base_db=25.0, fidelity=10, train_seconds=2.0, restarts=0)
    both = first.with_seed(dataclasses.replace(first, psnr_db=26.2))
    assert (both.psnr_db, both.seeds, both.train_seconds) == (
        pytest.approx(26.1),
        (26.0, 26.2),
        4.0,
    )
    three = both.with_seed(dataclasses.replace(first, psnr_db=26.4))
    assert three.psnr_db == pytest.approx(26.2)
    assert three.seeds == (26.0, 26.2, 26.4)
