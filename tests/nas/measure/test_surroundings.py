import json
import os

import pytest
import torch

from nas.measure import surroundings as module
from nas.measure.latency import canary
from nas.measure.latency.canary import Canary, drift
from nas.measure.latency.rounds import Block
from nas.measure.surroundings import UNKNOWN, neighbours, surroundings

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def answer(monkeypatch):
    """What nvidia-smi answers; gives what it was asked."""

    def set_to(text):
        monkeypatch.setattr(module, "device_id", lambda device: "GPU-1")
        monkeypatch.setattr(module, "output", lambda command: asked.append(command) or text)
        return asked

    asked = []
    return set_to


def test_surroundings_of_the_cpu_are_json():
    found = json.loads(json.dumps(surroundings(CPU), allow_nan=False))
    assert set(found) == {"clocks_mhz", "load", "waiting_share"}


def test_surroundings_of_a_gpu_are_numbers_with_their_units(answer):
    asked = answer("1980, 3201, 34, [N/A], 0x0000000000000004")
    found = surroundings(GPU)
    assert found == {
        "sm_mhz": 1980.0,
        "memory_mhz": 3201.0,
        "temperature_c": 34.0,
        "power_w": None,
        "throttle_reasons": "0x0000000000000004",
    }
    assert asked[0][-1] == "--id=GPU-1"


def test_surroundings_are_unknown_without_nvidia_smi(answer):
    answer(None)
    assert set(surroundings(GPU).values()) == {None}
    assert neighbours(GPU, set()) == UNKNOWN


def test_an_old_driver_has_another_word_for_throttling(monkeypatch):
    """It refuses the whole query for a field that it does not know."""
    monkeypatch.setattr(module, "device_id", lambda device: "GPU-1")

    def answer(command):
        known = any("clocks_throttle_reasons.active" in word for word in command)
        return "1980, 3201, 34, 70.5, 0x0000000000000000" if known else None

    monkeypatch.setattr(module, "output", answer)
    found = surroundings(GPU)
    assert (found["sm_mhz"], found["throttle_reasons"]) == (1980.0, "0x0000000000000000")


def test_neighbours_are_those_that_do_not_make_way(answer):
    answer(f"{os.getpid()}\n11\n12\n")
    assert neighbours(GPU, {os.getpid(), 12}) == [11]
    assert neighbours(GPU, {os.getpid(), 11, 12}) == []


def test_neighbours_are_unknown_where_process_numbers_mean_nothing(answer):
    answer("1111111\n2222222\n")
    assert neighbours(GPU, {os.getpid()}) == UNKNOWN


def test_the_cpu_has_no_neighbours():
    assert neighbours(CPU, set()) == []


def test_drift_is_the_worst_change_either_way():
    assert drift((1.0, 2.0), (1.0, 2.0)) == 0
    assert drift((1.0, 2.0), (1.1, 1.0)) == pytest.approx(1.0)
    assert drift((0.0,), (1.0,)) == 0  # a clock that stands still


def test_the_fixed_work_is_done_and_its_median_is_told():
    times = iter([0.001, *[0.002] * 3, *[0.009] * 4, 0.001, *[0.003] * 7])
    done = []

    def stopwatch(forward, repeats):
        done.append((tuple(forward().shape), repeats))
        return Block(seconds=next(times))

    assert Canary(CPU).read(stopwatch) == (0.009, 0.003)
    assert done == [
        ((1024, 1024), 1),
        *[((1024, 1024), 5)] * 7,
        ((256, 256), 1),
        *[((256, 256), 5)] * 7,
    ]


@pytest.mark.parametrize(("seconds", "works"), [(0.0, False), (0.02, True)])
def test_a_device_works_before_its_fixed_work_is_timed(monkeypatch, seconds, works):
    """A GPU stands at its idle clock after networks were built; a CPU is not kept waiting."""
    assert canary.WARM_SECONDS["cpu"] == 0
    assert canary.WARM_SECONDS["cuda"] >= 0.3
    products, before_timing = [], []
    multiply = torch.mm
    monkeypatch.setattr(torch, "mm", lambda *pair: products.append(pair) or multiply(*pair))
    monkeypatch.setitem(canary.WARM_SECONDS, "cpu", seconds)

    def stopwatch(forward, repeats):
        before_timing.append(len(products))
        return Block(seconds=1.0)

    Canary(CPU).read(stopwatch)
    assert (before_timing[0] > 0) == works
