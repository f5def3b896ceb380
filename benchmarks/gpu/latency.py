"""How far the latency protocol can be believed on a GPU: modes, repeats, ranks, and a trainer beside it."""

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.gpu.networks import TYPICAL, network, span, spanv2
from benchmarks.gpu.rows import Fact, Figure, Given, Row, each
from benchmarks.gpu.timing import read_networks, tf32
from benchmarks.shared.ranks import tau
from nas.measure.device import device_id
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.flags import split_flags
from nas.measure.latency.meter import LatencyMeter
from nas.measure.latency.modes import MODES
from nas.measure.latency.sizes import CHALLENGE_SIZES
from nas.measure.lock import shared
from nas.record import Latency
from search_spaces.spec import ArchSpec

BRIEF = {
    "warmup_seconds": 0.3,
    "min_rounds": 15,
    "max_rounds": 60,
    "max_seconds": 2.5,
    "target_ci": 0.01,
}
NUM_RUDE = 6  # readings beside a trainer that does not make way; each is void, and so taken twice


def meter(
    sizes: list[tuple[int, int]] | None = None, mode: str = "challenge", **brief: float
) -> LatencyMeter:
    usual = [(height, width) for height, width, _ in CHALLENGE_SIZES[:4]]
    config = LatencyConfig(
        mode=mode, backend="torch", sizes=sizes or usual, threads=1, tf32=True, **(BRIEF | brief)
    )
    return LatencyMeter(config, baseline=span(), device=torch.device("cuda", 0))


def modes(given: Given) -> Iterator[Row]:
    """SPANV2 over SPAN: both plain, and in every mode of a GPU."""
    tasks = {"plain": _plain}
    for mode, how in MODES.items():
        if "cuda" in how.devices:
            tasks[mode] = lambda mode=mode: _mode(mode)
    yield from each(tasks)


def _plain() -> Iterator[Row]:
    image = torch.rand(1, 3, *TYPICAL, device="cuda")
    with tf32(True):
        reading, clocks = read_networks(network(span()), network(spanv2()), [(image, 1.0)])
    yield Figure(
        name="SPANV2 over SPAN, both plain, 339x510",
        value=reading.ratio,
        higher=False,
        low=reading.ratio_low,
        high=reading.ratio_high,
        sm_mhz=clocks,
        note=f"{reading.candidate_ms:.3f} ms against {reading.baseline_ms:.3f} ms",
    )


def _mode(mode: str) -> Iterator[Row]:
    found = meter([TYPICAL], mode=mode).measure(spanv2(), seed=0)
    yield Figure(
        name=f"SPANV2 over SPAN, mode {mode}, 339x510, random weights",
        value=found.ratio,
        higher=False,
        low=found.details["ratio_p10"],
        high=found.details["ratio_p90"],
        sm_mhz=tuple(found.details["sm_mhz"]),
        note=f"{found.runtime_ms:.3f} ms (host {found.host_ms:.3f}) against {found.baseline_ms:.3f} ms "
        f"(host {found.baseline_host_ms:.3f}), first image {found.first_ms:.1f} ms"
        f"{', flagged ' + found.flags if found.flags else ''}",
    )


def repeatability(given: Given, repeats: int = 5) -> Iterator[Row]:
    ratios = []
    for seed in range(repeats):
        reading = meter().measure(spanv2(), seed=seed)
        ratios.append(reading.ratio)
        yield _fact(f"reading {seed}", reading)
    yield Figure(
        name=f"SPANV2 over SPAN, mode challenge: deviation of the ratio over {repeats} readings",
        value=100 * statistics.stdev(ratios) / statistics.fmean(ratios),
        demand=1.0,
        hoped=0.3,
        higher=False,
        unit="%",
        note=f"ratio {statistics.fmean(ratios):.4f}",
    )


def _fact(name: str, reading: Latency) -> Fact:
    words = ("ratio", "ci", "runtime_ms", "baseline_ms", "host_ms", "rounds", "rejected", "flags")
    kept = {word: getattr(reading, word) for word in words}
    return Fact(
        name=name, value=kept | {word: reading.details[word] for word in ("drift", "sm_mhz")}
    )


def rank_specs(count: int = 20) -> list[ArchSpec]:
    """Different networks, of SPAN's and of SPANV2's kind."""
    rng = random.Random(0)
    specs: list[ArchSpec] = []
    while len(specs) < count:
        make = rng.choice((span, spanv2))
        spec = make(rng.choice((16, 20, 24, 28, 32, 40, 48)), rng.choice((2, 3, 4, 5, 6)))
        if spec not in specs:
            specs.append(spec)
    return specs


def rank_stability(given: Given) -> Iterator[Row]:
    """Kendall's tau of two readings of 20 networks."""
    runs = []
    for seed in (0, 1):
        found = meter([TYPICAL], max_seconds=0.8).measure_all(rank_specs(), seed=seed)
        said = [str(one) if isinstance(one, RuntimeError) else one.ratio for one in found]
        yield Fact(name=f"ratios, reading {seed}", value=said)
        runs.append(found)
    read = [
        pair
        for pair in zip(*runs, strict=True)
        if not any(isinstance(one, RuntimeError) for one in pair)
    ]
    first, second = ([one.ratio for one in run] for run in zip(*read, strict=True))
    yield Figure(
        name=f"Kendall's tau of {len(read)} networks, two readings",
        value=tau(first, second)[0],
        demand=0.95,
        hoped=0.98,
    )
    yield Figure(
        name="the same on pairs more than 2 % apart",
        value=tau(first, second, apart=0.02)[0],
        note=f"max/min {max(first) / min(first):.1f}",
    )


def beside_a_trainer(given: Given) -> Iterator[Row]:
    """The ratio with a training process that makes way, and readings flagged with one that does not."""
    quiet = [meter().measure(spanv2(), seed=seed).ratio for seed in (10, 11)]
    with_lock = [reading.ratio for reading in _readings(["--train"], 2)]
    yield Figure(
        name="shift of the ratio while a trainer shares the GPU through the lock",
        value=100 * abs(statistics.fmean(with_lock) / statistics.fmean(quiet) - 1),
        demand=1.5,
        hoped=0.5,
        higher=False,
        unit="%",
        note=f"ratios {', '.join(f'{ratio:.4f}' for ratio in (*quiet, *with_lock))}",
    )
    without = []
    for reading in _readings(["--train", "--rude"], NUM_RUDE, max_seconds=0.5):
        yield _fact("beside a rude trainer", reading)
        without.append(bool(split_flags(reading) - {"host_bound"}))
    yield Figure(
        name="readings flagged while a trainer without the lock disturbs them",
        value=100 * sum(without) / len(without),
        demand=95,
        hoped=100,
        unit="%",
        note=f"{len(without)} readings",
    )


def _readings(arguments: list[str], count: int, **brief: float) -> Iterator[Latency]:
    """Some readings while this script trains in another process."""
    child = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        if child.stdout.readline().strip() != "training":
            raise RuntimeError("the trainer did not start")
        for seed in range(count):
            yield meter(**brief).measure(spanv2(), seed=20 + seed)
    finally:
        child.kill()
        child.wait()


def train(*, rude: bool) -> None:
    """Train SPAN on noise until killed; `rude` does not make way."""
    net = network(span()).requires_grad_(True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    low, high = torch.rand(16, 3, 64, 64, device="cuda"), torch.rand(16, 3, 256, 256, device="cuda")

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (net(low) - high).abs().mean().backward()
        optimizer.step()

    step()
    if rude:
        print("training", flush=True)
        while True:
            step()
            time.sleep(0)
    with shared(device_id(torch.device("cuda", 0)), settle=torch.cuda.synchronize) as share:
        print("training", flush=True)
        while True:
            step()
            torch.cuda.synchronize()
            share.give_way()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true", required=True, help="train until killed")
    parser.add_argument("--rude", action="store_true", help="without the lock")
    train(rude=parser.parse_args().rude)
