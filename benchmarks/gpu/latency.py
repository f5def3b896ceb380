"""How far can the latency protocol be believed on a GPU? Modes, repeats, ranks, a trainer.

    python benchmarks/gpu/latency.py --train [--rude]

Its functions are sections of gpu.py. The command is the trainer that one of them starts beside
itself: it trains SPAN on noise until it is killed, and makes way by the lock, with --rude not.
"""

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.gpu.networks import TYPICAL, make_network, make_span, make_spanv2
from benchmarks.gpu.rows import Fact, Figure, Given, Row, run_tasks
from benchmarks.gpu.timing import time_networks, use_tf32
from benchmarks.shared.arguments import make_parser
from benchmarks.shared.ranks import compute_tau
from nas.measure.device import device_id
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.flags import split_flags
from nas.measure.latency.meter import LatencyMeter
from nas.measure.latency.modes import MODES
from nas.measure.latency.sizes import CHALLENGE_SIZES
from nas.measure.lock import shared
from nas.record import Latency
from search_spaces.spec import ArchSpec

# The protocol's limits are a user's patience; these fit a section into its time.
BRIEF = {
    "warmup_seconds": 0.3,
    "min_rounds": 15,
    "max_rounds": 60,
    "max_seconds": 2.5,
    "target_ci": 0.01,
}
NUM_RUDE = 6  # readings beside a trainer that does not make way; each is void, and so taken twice


def make_meter(
    sizes: list[tuple[int, int]] | None = None, mode: str = "challenge", **brief: float
) -> LatencyMeter:
    """Return the product's own meter, SPAN its baseline, at settings that fit a section's time."""
    usual = [(height, width) for height, width, _ in CHALLENGE_SIZES[:4]]
    config = LatencyConfig(
        mode=mode, backend="torch", sizes=sizes or usual, threads=1, tf32=True, **(BRIEF | brief)
    )
    return LatencyMeter(config, baseline=make_span(), device=torch.device("cuda", 0))


def measure_modes(given: Given) -> Iterator[Row]:
    """Time SPANV2 over SPAN: both plain, and in every mode of a GPU."""
    tasks = {"plain": _measure_plain}
    for mode, how in MODES.items():
        if "cuda" in how.devices:
            tasks[mode] = lambda mode=mode: _measure_mode(mode)
    yield from run_tasks(tasks)


def _measure_plain() -> Iterator[Row]:
    image = torch.rand(1, 3, *TYPICAL, device="cuda")
    with use_tf32(True):
        reading, clocks = time_networks(
            make_network(make_span()), make_network(make_spanv2()), [(image, 1.0)]
        )
    yield Figure(
        name="SPANV2 over SPAN, both plain, 339x510",
        value=reading.ratio,
        higher=False,
        low=reading.ratio_low,
        high=reading.ratio_high,
        sm_mhz=clocks,
        note=f"{reading.candidate_ms:.3f} ms against {reading.baseline_ms:.3f} ms",
    )


def _measure_mode(mode: str) -> Iterator[Row]:
    # The product's own reading: networks in turn, in this mode.
    reading = make_meter([TYPICAL], mode=mode).measure(make_spanv2(), seed=0)
    ours = f"{reading.runtime_ms:.3f} ms (host {reading.host_ms:.3f})"
    theirs = f"{reading.baseline_ms:.3f} ms (host {reading.baseline_host_ms:.3f})"
    flagged = f", flagged {reading.flags}" if reading.flags else ""
    yield Figure(
        name=f"SPANV2 over SPAN, mode {mode}, 339x510, random weights",
        value=reading.ratio,
        higher=False,
        low=reading.details["ratio_p10"],
        high=reading.details["ratio_p90"],
        sm_mhz=tuple(reading.details["sm_mhz"]),
        note=f"{ours} against {theirs}, first image {reading.first_ms:.1f} ms{flagged}",
    )


def measure_repeatability(given: Given, repeats: int = 5) -> Iterator[Row]:
    """Measure how much the ratio of SPANV2 to SPAN differs from reading to reading."""
    ratios = []
    for seed in range(repeats):
        reading = make_meter().measure(make_spanv2(), seed=seed)
        ratios.append(reading.ratio)
        yield _describe_reading(f"reading {seed}", reading)
    yield Figure(
        name=f"SPANV2 over SPAN, mode challenge: deviation of the ratio over {repeats} readings",
        value=100 * statistics.stdev(ratios) / statistics.fmean(ratios),
        demand=1.0,
        hoped=0.3,
        higher=False,
        unit="%",
        note=f"ratio {statistics.fmean(ratios):.4f}",
    )


def _describe_reading(name: str, reading: Latency) -> Fact:
    words = ("ratio", "ci", "runtime_ms", "baseline_ms", "host_ms", "rounds", "rejected", "flags")
    kept = {word: getattr(reading, word) for word in words}
    return Fact(
        name=name, value=kept | {word: reading.details[word] for word in ("drift", "sm_mhz")}
    )


def draw_specs(count: int = 20) -> list[ArchSpec]:
    """Return different networks, of SPAN's and of SPANV2's kind, the same on each call."""
    rng = random.Random(0)
    specs: list[ArchSpec] = []
    while len(specs) < count:
        make = rng.choice((make_span, make_spanv2))
        spec = make(rng.choice((16, 20, 24, 28, 32, 40, 48)), rng.choice((2, 3, 4, 5, 6)))
        if spec not in specs:
            specs.append(spec)
    return specs


def measure_rank_stability(given: Given) -> Iterator[Row]:
    """Measure Kendall's tau of two readings of 20 networks."""
    # Read every network twice; one that fails is a RuntimeError in its place.
    runs = []
    for seed in (0, 1):
        readings = make_meter([TYPICAL], max_seconds=0.8).measure_all(draw_specs(), seed=seed)
        ratios = [
            str(reading) if isinstance(reading, RuntimeError) else reading.ratio
            for reading in readings
        ]
        yield Fact(name=f"ratios, reading {seed}", value=ratios)
        runs.append(readings)

    # Those that were read both times are ranked.
    pairs = [
        pair
        for pair in zip(*runs, strict=True)
        if not any(isinstance(reading, RuntimeError) for reading in pair)
    ]
    first, second = ([reading.ratio for reading in run] for run in zip(*pairs, strict=True))
    yield Figure(
        name=f"Kendall's tau of {len(pairs)} networks, two readings",
        value=compute_tau(first, second)[0],
        demand=0.95,
        hoped=0.98,
    )
    yield Figure(
        name="the same on pairs more than 2 % apart",
        value=compute_tau(first, second, apart=0.02)[0],
        note=f"max/min {max(first) / min(first):.1f}",
    )


def measure_beside_trainer(given: Given) -> Iterator[Row]:
    """Measure the ratio beside a trainer that makes way, and flags beside one that does not."""
    # With the lock the ratio stays where it was without a trainer.
    quiet = [make_meter().measure(make_spanv2(), seed=seed).ratio for seed in (10, 11)]
    with_lock = [reading.ratio for reading in _read_beside_trainer(["--train"], 2)]
    yield Figure(
        name="shift of the ratio while a trainer shares the GPU through the lock",
        value=100 * abs(statistics.fmean(with_lock) / statistics.fmean(quiet) - 1),
        demand=1.5,
        hoped=0.5,
        higher=False,
        unit="%",
        note=f"ratios {', '.join(f'{ratio:.4f}' for ratio in (*quiet, *with_lock))}",
    )

    # Without it readings have to be flagged, by more than the flag that a small network carries.
    is_flagged = []
    for reading in _read_beside_trainer(["--train", "--rude"], NUM_RUDE, max_seconds=0.5):
        yield _describe_reading("beside a rude trainer", reading)
        is_flagged.append(bool(split_flags(reading) - {"host_bound"}))
    yield Figure(
        name="readings flagged while a trainer without the lock disturbs them",
        value=100 * sum(is_flagged) / len(is_flagged),
        demand=95,
        hoped=100,
        unit="%",
        note=f"{len(is_flagged)} readings",
    )


def _read_beside_trainer(arguments: list[str], count: int, **brief: float) -> Iterator[Latency]:
    """Yield readings that are taken while this script trains in another process."""
    child = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        if child.stdout.readline().strip() != "training":
            raise RuntimeError("the trainer did not start")
        for seed in range(count):
            yield make_meter(**brief).measure(make_spanv2(), seed=20 + seed)
    finally:
        child.kill()
        child.wait()


def train_until_killed(*, rude: bool) -> None:
    """Train SPAN on noise until killed; `rude` does not make way."""
    net = make_network(make_span()).requires_grad_(True)
    # Batches of a usual training, so that the GPU is as busy.
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    low, high = torch.rand(16, 3, 64, 64, device="cuda"), torch.rand(16, 3, 256, 256, device="cuda")

    def take_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (net(low) - high).abs().mean().backward()
        optimizer.step()

    # The word on standard output tells the one who reads latencies that the GPU is busy.
    take_step()
    if rude:
        print("training", flush=True)
        while True:
            take_step()
            time.sleep(0)
    with shared(device_id(torch.device("cuda", 0)), settle=torch.cuda.synchronize) as share:
        print("training", flush=True)
        while True:
            take_step()
            torch.cuda.synchronize()
            share.give_way()


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--train", action="store_true", required=True, help="train until killed")
    parser.add_argument("--rude", action="store_true", help="without the lock")
    train_until_killed(rude=parser.parse_args().rude)
