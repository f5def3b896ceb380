import dataclasses
import math
import os

import pytest
import torch

from nas.commands.composition import compose_command
from nas.commands.schema import build as build_config
from nas.measure import lock
from nas.measure.conditions import flushes_denormals, reading_conditions
from nas.measure.latency import LatencyMeter, time_on_cuda
from nas.measure.protocol import Block
from nas.measure.sizes import CHALLENGE_SIZES, weighted
from search_spaces import published
from tests.nas.measure.networks import tiny

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_locks(monkeypatch, tmp_path):
    monkeypatch.setattr(lock, "lock_folder", lambda: tmp_path)


@pytest.fixture(scope="module")
def config():
    tree = compose_command("profile", ["arch=published/span"]).tree["latency"]
    usual = build_config(tree | {"sizes": None})
    return dataclasses.replace(usual, warmup_seconds=0.0, min_rounds=3, max_rounds=5)


def by_params(forward, repeats):
    """A clock on which runtime is the number of parameters, in microseconds, whatever the size."""
    return Block(seconds=1e-6 * sum(p.numel() for p in forward.network.parameters()))


def test_a_reading_says_how_it_was_taken(config):
    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=by_params)
    found = meter.measure(published("spanv2"), seed=1)
    assert found.ratio == pytest.approx(139_104 / 150_688)
    assert (found.runtime_ms, found.baseline_ms) == pytest.approx((139.104, 150.688))
    assert (found.mode, found.dtype, found.sizes, found.threads) == ("cpu", "float32", "64x64", 1)
    assert (found.rounds, found.rejected) == (5, 0)
    assert found.device


def test_the_baselines_own_ratio_is_one_by_definition(config):
    meter = LatencyMeter(config, baseline=tiny(), device=CPU)
    found = meter.baseline_reading()
    assert (found.ratio, found.ci) == (1.0, 0.0)
    assert found.runtime_ms == found.baseline_ms > 0


def test_sizes_are_those_asked_for_with_equal_weight(config):
    config = dataclasses.replace(config, sizes=[(16, 24), (8, 8)])
    meter = LatencyMeter(config, baseline=tiny(), device=CPU)
    assert meter.measure(tiny(), seed=0).sizes == "16x24,8x8"
    assert [size.weight for size in meter.sizes] == [0.5, 0.5]


def test_weights_of_the_challenges_sizes_sum_to_one():
    sizes = weighted(CHALLENGE_SIZES)
    assert len(sizes) == 20
    assert math.fsum(size.weight for size in sizes) == pytest.approx(1)
    assert str(sizes[0]) == "339x510"


def test_a_real_reading_is_sane_and_leaves_nothing_behind(config):
    def state():
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        return torch.get_num_threads(), flushes_denormals(), torch.get_rng_state().tolist(), cores

    torch.set_flush_denormal(False)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the kernel drops those that are not ours
    before = state()
    big = dataclasses.replace(published("span"), scale=2)
    config = dataclasses.replace(config, sizes=[(24, 24)], threads=1)
    found = LatencyMeter(config, baseline=big, device=CPU).measure(tiny(2), seed=77)
    assert state() == before
    assert 0 < found.ratio < 0.5  # 22 convolutions against 3
    assert 0 < found.runtime_ms < found.baseline_ms < 1e4
    assert 0 <= found.ci < math.inf


def test_another_scale_than_the_baselines_is_refused(config):
    with pytest.raises(ValueError, match="scale is 3, that of the latency's baseline 2"):
        LatencyMeter(config, baseline=tiny(2), device=CPU).measure(tiny(3), seed=0)


def test_an_output_that_is_not_finite_fails_and_frees_the_device(config, monkeypatch):
    monkeypatch.setattr("search_spaces.network.Network.forward", lambda net, x: x.repeat(1, 1, 2, 2) / 0)
    meter = LatencyMeter(config, baseline=tiny(), device=CPU)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="is not finite"):
            meter.measure(tiny(), seed=0)


def test_challenge_mode_needs_a_gpu(config):
    with pytest.raises(ValueError, match="needs a CUDA GPU"):
        LatencyMeter(dataclasses.replace(config, mode="challenge"), baseline=tiny(), device=CPU)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sizes", [], "at least one size"),
        ("sizes", [(0, 64)], "at least 1x1, got 0x64"),
        ("threads", 0, "threads must be at least 1"),
        ("max_rounds", 2, "min_rounds must be"),
        ("target_ci", math.inf, "target_ci must be finite"),
    ],
)
def test_config_refuses(config, field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **{field: value})


def test_conditions_are_put_back_after_an_error():
    threads, flushes = torch.get_num_threads(), flushes_denormals()

    def fail():
        with reading_conditions(CPU, threads=2, tf32=True):
            assert (torch.get_num_threads(), flushes_denormals()) == (2, True)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (torch.get_num_threads(), flushes_denormals()) == (threads, flushes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_reading_on_the_gpu(config):
    config = dataclasses.replace(config, sizes=[(64, 64)])
    meter = LatencyMeter(config, baseline=published("span"), device=torch.device("cuda", 0))
    assert meter.stopwatch is time_on_cuda
    found = meter.measure(published("spanv2"), seed=0)
    assert (found.mode, found.dtype) == ("challenge", "float32-tf32")
    assert 0.1 < found.ratio < 2
