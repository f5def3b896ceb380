"""How far the latency protocol can be believed on a GPU: repeats, ranks, and a trainer beside it."""

import argparse
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from gpu_figures import Figure, network, span, spanv2
from ranks import tau

from nas.measure.device import device_id
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.meter import LatencyMeter, flags
from nas.measure.latency.sizes import CHALLENGE_SIZES
from nas.measure.lock import shared
from search_spaces.spec import ArchSpec

BRIEF = {"warmup_seconds": 0.3, "min_rounds": 15, "max_rounds": 60, "max_seconds": 4.0, "target_ci": 0.01}


def meter(sizes: list[tuple[int, int]] | None = None, **brief: float) -> LatencyMeter:
    usual = [(height, width) for height, width, _ in CHALLENGE_SIZES[:4]]
    config = LatencyConfig(
        mode="challenge", backend="torch", sizes=sizes or usual, threads=1, tf32=True, **(BRIEF | brief)
    )
    return LatencyMeter(config, baseline=span(), device=torch.device("cuda", 0))


def repeatability(repeats: int = 5) -> list[Figure]:
    ratios = [meter().measure(spanv2(), seed=seed).ratio for seed in range(repeats)]
    spread = statistics.stdev(ratios) / statistics.fmean(ratios)
    return [
        Figure(
            name="SPANV2 over SPAN, mode challenge: deviation of the ratio over 5 readings",
            value=100 * spread,
            demand=1.0,
            hoped=0.3,
            higher=False,
            unit="%",
            note=f"ratio {statistics.fmean(ratios):.4f}",
        )
    ]


def rank_stability(count: int = 20) -> list[Figure]:
    """Kendall's tau of two readings of 20 networks."""
    rng = random.Random(0)
    specs: list[ArchSpec] = []
    while len(specs) < count:
        make = rng.choice((span, spanv2))
        spec = make(rng.choice((16, 20, 24, 28, 32, 40, 48)), rng.choice((2, 3, 4, 5, 6)))
        if spec not in specs:
            specs.append(spec)
    runs = []
    for seed in (0, 1):
        runs.append(meter([(339, 510)]).measure_all(specs, seed=seed))
    read = [
        pair for pair in zip(*runs, strict=True) if not any(isinstance(one, RuntimeError) for one in pair)
    ]
    first, second = ([one.ratio for one in run] for run in zip(*read, strict=True))
    return [
        Figure(
            name=f"Kendall's tau of {len(read)} networks, two readings",
            value=tau(first, second)[0],
            demand=0.95,
            hoped=0.98,
        ),
        Figure(
            name="the same on pairs more than 2 % apart",
            value=tau(first, second, apart=0.02)[0],
            note=f"max/min {max(first) / min(first):.1f}",
        ),
    ]


def beside_a_trainer() -> list[Figure]:
    """The ratio with a training process that makes way, and readings flagged with one that does not."""
    quiet = statistics.fmean(meter().measure(spanv2(), seed=seed).ratio for seed in (10, 11))
    with_lock = _readings(["--train"], 2)
    shift = abs(statistics.fmean(ratio for ratio, _ in with_lock) / quiet - 1)
    without = _readings(["--train", "--rude"], 20, max_seconds=1.0)
    flagged = sum(bool(words) for _, words in without) / len(without)
    return [
        Figure(
            name="shift of the ratio while a trainer shares the GPU through the lock",
            value=100 * shift,
            demand=1.5,
            hoped=0.5,
            higher=False,
            unit="%",
        ),
        Figure(
            name="readings flagged while a trainer without the lock disturbs them",
            value=100 * flagged,
            demand=95,
            hoped=100,
            unit="%",
            note=f"{len(without)} readings",
        ),
    ]


def _readings(arguments: list[str], count: int, **brief: float) -> list[tuple[float, set[str]]]:
    """Ratios and flags of some readings while this script trains in another process."""
    child = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "training"
        found = [meter(**brief).measure(spanv2(), seed=20 + seed) for seed in range(count)]
        return [(one.ratio, flags(one)) for one in found]
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
