import collections
import contextlib
import dataclasses
import importlib.util
import math
import os

import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from nas.cli.composition import compose_command
from nas.cli.schema import build as build_config
from nas.cli.schema import conform
from nas.deploy.graphs import GraphCache
from nas.measure import lock
from nas.measure.latency.conditions import flushes_denormals, reading_conditions
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.flags import find_faults
from nas.measure.latency.meter import LatencyMeter
from nas.measure.latency.modes import MODES, Mode, available, resolve
from nas.measure.latency.rounds import Block, Reading
from nas.measure.latency.sizes import CHALLENGE_SIZES, folder_sizes, weighted
from nas.measure.latency.stopwatch import Forward, time_on_cuda
from nas.measure.surroundings import UNKNOWN
from nas.record import TrialRecord
from search_spaces import published
from search_spaces.initialise import initial_network
from tests.nas.measure.latency.clocks import by_params, on_the_cpu
from tests.nas.measure.networks import tiny

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_locks(monkeypatch, tmp_path):
    monkeypatch.setattr(lock, "lock_folder", lambda: tmp_path)


@pytest.fixture(scope="module")
def config():
    tree = compose_command("profile", ["arch=published/span"]).tree["latency"]
    usual = build_config(conform(tree | {"sizes": None}, LatencyConfig, "latency", {}))
    return dataclasses.replace(usual, warmup_seconds=0.0, min_rounds=3, max_rounds=5)


@pytest.fixture
def challenge_on_cpu(monkeypatch):
    """The challenge's mode on a machine without a GPU: all of it but the clock."""
    monkeypatch.setitem(MODES, "challenge", on_the_cpu(MODES["challenge"]))


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
        os.sched_setaffinity(
            0, range(os.cpu_count() or 1)
        )  # the kernel drops those that are not ours
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
    monkeypatch.setattr(
        "search_spaces.network.Network.forward", lambda net, x: x.repeat(1, 1, 2, 2) / 0
    )
    meter = LatencyMeter(config, baseline=tiny(), device=CPU)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="is not finite"):
            meter.measure(tiny(), seed=0)


def test_challenge_mode_needs_a_gpu(config):
    with pytest.raises(
        ValueError, match=r"latency.mode=challenge needs a CUDA GPU, the device is cpu"
    ):
        LatencyMeter(dataclasses.replace(config, mode="challenge"), baseline=tiny(), device=CPU)


def test_modes_of_a_device():
    gpu = torch.device("cuda", 1)
    assert resolve("auto", CPU) == resolve("cpu", CPU) == resolve("cpu", gpu) == ("cpu", CPU)
    assert resolve("auto", gpu) == resolve("challenge", gpu) == ("challenge", gpu)
    assert available(CPU) == ["cpu"]
    assert available(gpu)[0] == "challenge"
    assert "cpu" in available(gpu)


class Recorder(TorchDispatchMode):
    """Counts our operators, by architecture and only while the stopwatch runs."""

    def __init__(self):
        super().__init__()
        self.seen = collections.Counter()
        self.calls = collections.Counter()

    def stopwatch(self, forward, repeats):
        self.spec = forward.spec.arch_id if forward.spec else None
        self.calls[self.spec] += repeats
        with self:
            for _ in range(repeats):
                forward()
        return Block(seconds=0.01)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "nas":
            self.seen[self.spec, func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "operator", "times"),
    [("spanv2", "span_attention", 4), ("spanf", "parameter_free_attention", 4)],
)
def test_the_operator_itself_runs_in_the_timed_forward(
    config, challenge_on_cpu, name, operator, times
):
    """Once in each block that has it, in every forward that is timed; the baseline is plain."""
    config = dataclasses.replace(config, mode="challenge", sizes=[(8, 8)])
    clock, spec = Recorder(), published(name)
    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=clock.stopwatch)
    found = meter.measure(spec, seed=0)
    assert clock.calls[spec.arch_id] > 10
    assert clock.seen[spec.arch_id, operator] == times * clock.calls[spec.arch_id]
    assert not [key for key in clock.seen if key[0] != spec.arch_id]
    assert (found.mode, found.operators) == ("challenge", f"conv_act,{operator}")


def test_the_cpus_mode_times_plain_networks(config):
    config = dataclasses.replace(config, sizes=[(8, 8)])
    clock = Recorder()
    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=clock.stopwatch)
    assert meter.measure(published("spanv2"), seed=0).operators == ""
    assert not clock.seen


def test_a_mode_says_what_is_timed_of_each_network_and_in_which_precision(config, monkeypatch):
    """All that a new mode needs is a line in the table."""
    made = []

    def make(network, setting):
        made.append(
            (network.spec.arch_id, setting.num_sizes, tuple(setting.image.shape), setting.tf32)
        )
        return lambda image: network(image)

    monkeypatch.setitem(
        MODES, "new", Mode(devices=("cpu",), baseline=make, candidate=make, dtype="float16")
    )
    config = dataclasses.replace(config, mode="new", sizes=[(12, 8), (8, 8)])
    found = LatencyMeter(
        config, baseline=published("span"), device=CPU, stopwatch=by_params
    ).measure(published("spanv2"), seed=0)
    assert (found.mode, found.dtype, found.operators) == ("new", "float16", "")
    names = [published("span").arch_id, published("spanv2").arch_id]
    assert made == [(name, 2, (1, 3, 12, 8), True) for name in names]


def test_networks_that_are_read_together_get_their_own_readings(config):
    specs = [published("spanv2"), published("spanf"), published("span")]
    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=by_params)
    together = meter.measure_all(specs, seed=1)
    alone = [meter.measure(spec, seed=1) for spec in specs]
    assert [one.ratio for one in together] == [one.ratio for one in alone]
    assert [one.runtime_ms for one in together] == pytest.approx([139.104, 148.288, 150.688])
    assert together[0].details["together"] == 3
    assert together[0].conditions == meter.conditions


def test_the_first_image_is_kept_apart(config):
    slow = set()

    def stopwatch(forward, repeats):
        first = id(forward.network) not in slow
        slow.add(id(forward.network))
        seconds = by_params(forward, repeats).seconds
        return Block(seconds=seconds * (20 if first and forward.spec else 1))

    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=stopwatch)
    found = meter.measure(published("spanv2"), seed=1)
    assert found.ratio == pytest.approx(139_104 / 150_688)
    assert (found.first_ms, found.baseline_first_ms) == pytest.approx((20 * 139.104, 20 * 150.688))
    found = dataclasses.replace(found, baseline_first_ms=150.688)
    assert found.ratio_with_first == pytest.approx(139.104 * 119 / (150.688 * 100))
    assert dataclasses.replace(found, first_ms=None).ratio_with_first is None


def test_a_disturbed_reading_and_a_drift_are_flagged_and_kept(config):
    calls = []

    def stopwatch(forward, repeats):
        calls.append(forward)
        if forward.spec is None:  # fixed work, slower at the end
            return Block(seconds=0.01 * (1 + (len(calls) > 40)))
        return Block(
            seconds=by_params(forward, repeats).seconds * (1 + 0.3 * (len(calls) % 3)), idle=0.5
        )

    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=stopwatch)
    found = meter.measure(published("spanv2"), seed=1)
    assert found.flags == "disturbed,drifted"
    assert found.details["drift"] == pytest.approx(1.0)
    assert (found.details["attempt"], found.details["idle"]) == (1, 0.5)
    assert 0.5 < found.ratio < 2


@pytest.mark.parametrize(
    ("rejected", "ci", "on_gpu", "expected"),
    [
        (4, 0.001, True, []),
        (6, 0.001, True, ["disturbed"]),
        (6, 0.001, False, []),
        (6, 0.02, False, ["disturbed"]),
        (4, 0.02, False, []),
    ],
)
def test_rejected_rounds_alone_disturb_on_a_gpu_and_with_a_wide_interval_on_a_cpu(
    rejected, ci, on_gpu, expected
):
    reading = Reading(
        candidate_ms=1, baseline_ms=1, ratio=1.0, ci=ci, ratio_low=1, ratio_high=1, rounds=20 - rejected,
        rejected=rejected, idle=0,
    )  # fmt: skip
    other = {"drifted": False, "contaminated": False, "target_ci": 0.01}
    assert find_faults(reading, on_gpu=on_gpu, **other) == expected


def test_a_void_reading_of_a_gpu_is_taken_once_more(config, monkeypatch):
    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=by_params)
    quiet = meter.measure(published("spanv2"), seed=1)
    void = dataclasses.replace(quiet, flags="contaminated,disturbed")
    contaminated = dataclasses.replace(quiet, flags="contaminated")
    failure = RuntimeError("no")
    answers = [[void, contaminated, failure, quiet], [dataclasses.replace(void, flags="drifted")]]
    asked = []

    def attempt(specs, seed, *, attempt):
        asked.append((list(specs), attempt))
        return answers[attempt - 1]

    monkeypatch.setattr(meter, "_attempt_reading", attempt)
    monkeypatch.setattr(meter, "device", torch.device("cuda", 0))
    specs = [published("spanv2"), published("spanf"), tiny(4), published("span")]
    found = meter.measure_all(specs, seed=0)
    assert [getattr(one, "flags", "failed") for one in found] == [
        "drifted",
        "contaminated",
        "failed",
        "",
    ]
    assert asked == [(specs, 1), (specs[:1], 2)]


def test_a_neighbour_on_the_gpu_contaminates_and_a_quiet_reading_has_no_flags(config, monkeypatch):
    meter = LatencyMeter(config, baseline=tiny(), device=CPU, stopwatch=by_params)
    assert meter.measure(tiny(), seed=0).flags == ""
    monkeypatch.setattr("nas.measure.latency.meter.neighbours", lambda device, own: [123])
    found = meter.measure(tiny(), seed=0)
    assert (found.flags, found.details["neighbours"]) == ("contaminated", [123])
    record = TrialRecord(number=1, state="failed", spec=tiny(), latency=found)
    assert TrialRecord.from_json(record.to_json()) == record
    monkeypatch.setattr("nas.measure.latency.meter.neighbours", lambda device, own: UNKNOWN)
    found = meter.measure(tiny(), seed=0)
    assert (found.flags, found.details["neighbours"]) == ("", "unknown")


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("x] can't allocate memory: y")],
)
@pytest.mark.parametrize("forwards", [0, 5], ids=["at once", "while timed"])
def test_memory_that_is_out_fails_that_network_alone_by_name(config, error, forwards):
    big, ran = published("spanv2"), []

    def stopwatch(forward, repeats):
        ran.append(forward.spec)
        if forward.spec == big and ran.count(big) > forwards:
            raise error
        return by_params(forward, repeats)

    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=stopwatch)
    failed, fine = meter.measure_all([big, published("spanf")], seed=0)
    assert str(failed) == f"out of memory: {big.arch_id} does not fit on cpu at 64x64"
    assert fine.ratio == pytest.approx(148_288 / 150_688)
    ran.clear()
    with pytest.raises(RuntimeError, match=f"out of memory: {big.arch_id} does not fit"):
        meter.measure(big, seed=0)


def test_onnxruntime_computes_what_torch_does_and_says_so(config):
    pytest.importorskip("onnxruntime")
    config = dataclasses.replace(config, backend="onnxruntime", sizes=[(16, 12), (8, 8)])
    outputs = {}

    def stopwatch(forward, repeats):
        if forward.spec:
            outputs[forward.spec.arch_id, tuple(forward.image.shape[2:])] = (
                forward(),
                forward.image,
            )
        return Block(seconds=0.01)

    found = LatencyMeter(config, baseline=tiny(), device=CPU, stopwatch=stopwatch).measure(
        tiny(), seed=3
    )
    assert (found.mode, found.dtype) == ("cpu", "float32-onnxruntime")
    network = initial_network(
        tiny(), 3, outputs[tiny().arch_id, (8, 8)][1], zero_output=False
    ).eval()
    assert len(outputs) == 2
    for output, image in outputs.values():
        with torch.inference_mode():
            torch.testing.assert_close(output, network(image), rtol=1e-5, atol=1e-5)


def test_onnxruntime_is_refused_on_a_gpu_and_where_it_is_missing(config, monkeypatch):
    pytest.importorskip("onnxruntime")
    other = dataclasses.replace(config, backend="onnxruntime")
    with pytest.raises(ValueError, match="is read on the CPU, the device is cuda:0; give latency"):
        LatencyMeter(other, baseline=tiny(), device=torch.device("cuda", 0))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "onnx" in name else find(name)
    )
    with pytest.raises(
        ValueError, match=r"needs onnx, onnxscript, onnxruntime, .*'esr-nas\[onnx\]'"
    ):
        dataclasses.replace(config, backend="onnxruntime")


def test_sizes_of_a_folder_count_by_how_often_they_are_there(config, tmp_path):
    for number, size in enumerate([(12, 8)] * 3 + [(10, 16)]):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no image")
    config = dataclasses.replace(config, sizes=str(tmp_path))
    meter = LatencyMeter(config, baseline=tiny(), device=CPU, stopwatch=by_params)
    assert [(str(size), size.weight) for size in meter.sizes] == [("8x12", 0.75), ("16x10", 0.25)]
    assert meter.measure(tiny(), seed=0).sizes == "8x12,16x10"


def test_at_most_twenty_sizes_of_a_folder_are_taken(tmp_path):
    for width in range(8, 32):
        Image.new("RGB", (width, 8)).save(tmp_path / f"{width}.png")
    Image.new("RGB", (31, 8)).save(tmp_path / "again.png")
    sizes = folder_sizes(tmp_path)
    assert len(sizes) == 20
    assert str(sizes[0]) == "8x31"
    assert math.fsum(size.weight for size in sizes) == pytest.approx(1)


def test_a_folder_of_sizes_that_is_not_there_or_empty_is_refused(config, tmp_path):
    for folder, message in (
        (tmp_path / "x", "there is no such folder"),
        (tmp_path, "no images in it"),
    ):
        with pytest.raises(ValueError, match=message):
            LatencyMeter(
                dataclasses.replace(config, sizes=str(folder)), baseline=tiny(), device=CPU
            )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mode", "fast", "not known; use auto, challenge, challenge_graph, graph, deploy, cpu"),
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


def test_host_time_stands_beside_the_runtime_and_decides_it_from_a_share_of_0_8(config):
    """The candidate's share is 0.79 or 0.81, the baseline's a half; on a CPU there is none."""

    def meter(share):
        def stopwatch(forward, repeats):
            seconds = by_params(forward, repeats).seconds
            part = 0.5 if forward.spec == published("span") else share
            return Block(seconds=seconds, host=part * seconds)

        return LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=stopwatch)

    found = meter(0.79).measure(published("spanv2"), seed=1)
    assert (found.host_ms, found.baseline_host_ms) == pytest.approx((0.79 * 139.104, 0.5 * 150.688))
    assert found.flags == ""
    bound = meter(0.81).measure(published("spanv2"), seed=1)
    assert bound.flags == "host_bound"
    assert meter(0.5).baseline_reading().host_ms == pytest.approx(0.5 * 150.688)
    record = TrialRecord(number=1, state="failed", spec=tiny(), latency=bound)
    assert TrialRecord.from_json(record.to_json()) == record
    plain = LatencyMeter(config, baseline=tiny(), device=CPU).measure(tiny(), seed=0)
    assert (plain.host_ms, plain.baseline_host_ms) == (None, None)


class FailedCapture(GraphCache):
    """As a cache is after a capture that failed: the network runs, launch by launch."""

    def __call__(self, image):
        self.why_not = "RuntimeError: capture failed"
        return self.function(image)


def test_a_reading_without_the_graph_that_its_mode_replays_says_so(config, monkeypatch):
    mode = Mode(
        devices=("cpu",),
        baseline=lambda network, setting: network,
        candidate=lambda network, setting: FailedCapture(network, capacity=1, share_output=True),
    )
    monkeypatch.setitem(MODES, "cpu", mode)
    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=by_params)
    found = meter.measure(published("spanv2"), seed=1)
    assert found.flags == "no_graph"
    assert found.details["why_no_graph"] == "RuntimeError: capture failed"


def test_host_time_is_that_of_the_forward_alone_between_its_events(config, monkeypatch):
    """Three forwards of 2, 3 and 4 s on the host's clock; the events say 10 ms each."""
    now = [0.0]

    class Event:
        def __init__(self, enable_timing):
            now[0] += 100

        def record(self):
            now[0] += 100

        synchronize = record

        def elapsed_time(self, other):
            return 10.0

    lasts = iter((2.0, 3.0, 4.0))

    def network(image):
        now[0] += next(lasts)
        return image

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr("nas.measure.latency.stopwatch.time.perf_counter", lambda: now[0])
    block = time_on_cuda(Forward(network=network, image=torch.rand(1, 3, 4, 4), spec=None), 3)
    assert (block.seconds, block.host) == pytest.approx((0.01, 3.0))


def test_the_clock_of_the_gpu_is_kept_at_both_canaries(config, monkeypatch):
    clocks = iter((345.0, 1980.0, 1965.0, 1965.0))
    place = "nas.measure.latency.meter.surroundings"
    monkeypatch.setattr(place, lambda device: {"sm_mhz": next(clocks)})
    found = LatencyMeter(config, baseline=tiny(), device=CPU, stopwatch=by_params).measure(
        tiny(), seed=0
    )
    assert found.details["sm_mhz"] == [1980.0, 1965.0]
    assert (found.details["before"]["sm_mhz"], found.details["after"]["sm_mhz"]) == (345.0, 1965.0)


def test_challenge_graph_replays_the_candidate_and_times_the_baseline_as_released(
    config, monkeypatch
):
    """A graph is captured at the first image of each size, and its operators are known all the same."""
    captures = []

    def capture(cache, image):
        captures.append(tuple(image.shape[2:]))
        held = image.clone()
        out = cache.function(held)

        class Graph:
            def replay(self):
                out.copy_(cache.function(held))

        return Graph(), held, out

    monkeypatch.setattr("nas.deploy.graphs.GraphCache._capture_graph", capture)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the only one")
    monkeypatch.setitem(MODES, "challenge_graph", on_the_cpu(MODES["challenge_graph"]))
    config = dataclasses.replace(config, mode="challenge_graph", sizes=[(8, 8), (8, 12)])
    clock, spec = Recorder(), published("spanv2")
    meter = LatencyMeter(config, baseline=published("span"), device=CPU, stopwatch=clock.stopwatch)
    found = meter.measure(spec, seed=0)
    assert captures == [(8, 8), (8, 12)]
    assert (found.mode, found.operators) == ("challenge_graph", "conv_act,span_attention")
    assert clock.seen[spec.arch_id, "span_attention"] > 0
    assert not [key for key in clock.seen if key[0] != spec.arch_id]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_reading_on_the_gpu(config):
    config = dataclasses.replace(config, sizes=[(64, 64)])
    meter = LatencyMeter(config, baseline=published("span"), device=torch.device("cuda", 0))
    assert meter.stopwatch is time_on_cuda
    found = meter.measure(published("spanv2"), seed=0)
    assert (found.mode, found.dtype) == ("challenge", "float32-tf32")
    assert found.operators == "conv_act,span_attention"
    assert found.details["before"]["sm_mhz"] is None or found.details["before"]["sm_mhz"] > 0
    assert 0.1 < found.ratio < 2


@pytest.mark.parametrize(("name", "dtype"), [("graph", "float32-tf32"), ("deploy", "float16")])
def test_runner_modes_time_the_runner_and_say_which_operators_it_holds(
    name, dtype, config, monkeypatch
):
    assert MODES[name].devices == ("cuda",)
    monkeypatch.setitem(MODES, name, dataclasses.replace(MODES[name], devices=("cpu",)))
    meter = LatencyMeter(dataclasses.replace(config, mode=name), baseline=tiny(), device=CPU)
    found = meter.measure(tiny(), seed=0)
    assert (found.mode, found.operators) == (name, "conv_act")
    assert found.details["layers"] == {dtype.removesuffix("-tf32"): 3}
    assert found.dtype == dtype.removesuffix("-tf32")
