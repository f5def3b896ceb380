"""Do latencies rank networks alike twice? Paired readings and naive timings, in one run.

    python benchmarks/networks/latency.py [--networks 20] [--load 1] [--rounds 100] [--device cpu]

Networks are drawn at random from conf/space/span.yaml and spanv2.yaml; they have to spread over at
least a factor of three in runtime. Meanwhile other processes load so many cores with convolutions.
The naive timing runs each network three times by the wall clock, without a warm-up, one network
after the other.

The table holds Kendall's tau over two runs, over all pairs and over those whose ratios are more
than 2 % apart. Demanded on a CPU: 0.93 and 0.98; on a GPU 0.95 and 0.99.
"""

import argparse
import contextlib
import itertools
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.shared.arguments import make_parser
from benchmarks.shared.ranks import compute_tau
from benchmarks.shared.tables import format_head, format_row
from nas.cli.composition import compose_command
from nas.cli.schema import build as build_config
from nas.cli.schema import conform
from nas.measure.device import device_name, pick_device
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.meter import LatencyMeter
from nas.record import Latency
from search_spaces import ArchSpec, build, published
from search_spaces.chooser import RandomChooser, Space

# Kendall's tau over all pairs, and over those more than 2 % apart.
DEMANDED = {"cpu": (0.93, 0.98), "cuda": (0.95, 0.99)}
APART = 0.02  # share by which the ratios of a pair differ
MIN_SPREAD = 3.0  # largest over smallest latency: close ones cannot be ranked by anybody
NUM_NAIVE = 3  # forwards of the naive timing
TITLES = (
    "two runs",
    "tau",
    "tau of pairs > 2 % apart",
    "disagreement, mean / worst",
    "as demanded",
)
# What another process does meanwhile: convolutions on one core, for ever.
LOAD = """
import torch
torch.set_num_threads(1)
conv, x = torch.nn.Conv2d(32, 32, 3, padding=1), torch.rand(1, 32, 64, 64)
with torch.inference_mode():
    while True:
        conv(x)
"""


def draw_networks(count: int) -> list[ArchSpec]:
    """Return different networks, drawn at random, half of them from each space."""
    drawn: dict[str, ArchSpec] = {}
    for group, total in (("span", count - count // 2), ("spanv2", count)):
        tree = compose_command("search", [f"space={group}"]).tree["space"]
        space: Space = build_config(conform(tree, Space, "space", {}))
        for seed in itertools.count():
            if len(drawn) >= total:
                break
            spec = space.sample(RandomChooser(random.Random(seed)))
            drawn[spec.arch_id] = spec
    return list(drawn.values())


@contextlib.contextmanager
def load_cores(num_processes: int) -> Iterator[None]:
    """Let other processes compute meanwhile, each on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, "-c", LOAD], env=environment)
        for _ in range(num_processes)
    ]
    time.sleep(5 if processes else 0)  # until they have imported torch
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def time_naively(
    specs: Sequence[ArchSpec], size: tuple[int, int], device: torch.device
) -> list[float]:
    """Return seconds of each network: the mean of three forwards, no warm-up."""
    image = torch.rand(1, 3, *size, device=device)
    seconds = []
    with torch.inference_mode():
        for spec in specs:
            network = build(spec).to(device).eval()
            start = time.perf_counter()
            for _ in range(NUM_NAIVE):
                network(image)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append((time.perf_counter() - start) / NUM_NAIVE)
    return seconds


def read_latencies(meter: LatencyMeter, specs: Sequence[ArchSpec], seed: int) -> list[Latency]:
    """Return the reading of each network.

    Raises:
        RuntimeError: one of them failed.
    """
    latencies = []
    for reading in meter.measure_all(specs, seed=seed):
        if isinstance(reading, RuntimeError):
            raise reading
        latencies.append(reading)
    return latencies


def make_meter(device: torch.device, max_rounds: int) -> LatencyMeter:
    """Return the meter that `nas profile` uses, SPAN its baseline."""
    tree = compose_command("profile", ["arch=published/span"]).tree["latency"]
    fields = conform(tree | {"max_rounds": max_rounds}, LatencyConfig, "latency", {})
    config: LatencyConfig = build_config(fields)
    return LatencyMeter(config, baseline=published("span"), device=device)


def main() -> None:
    options = _parse_arguments()
    torch.set_num_threads(1)
    device = pick_device(options.device)
    meter = make_meter(device, options.rounds)
    specs = draw_networks(options.networks)
    size = (meter.sizes[0].height, meter.sizes[0].width)

    # Two runs of both ways, under the same load.
    runs, naive_runs, seconds = [], [], []
    with load_cores(options.load):
        for seed in range(2):
            naive_runs.append(time_naively(specs, size, device))
            start = time.perf_counter()
            runs.append(read_latencies(meter, specs, seed))
            seconds.append(time.perf_counter() - start)

    # Ratios to the baseline, which was timed in turn with each network.
    ratios = [[reading.ratio for reading in run] for run in runs]
    print(_describe_setting(meter, specs, options.load, ratios[0], seconds))
    print(_describe_readings([reading for run in runs for reading in run]) + "\n")
    print("\n".join(format_head(TITLES)))
    print(_format_agreement("paired ratios", *ratios, DEMANDED[meter.device.type]))
    print(_format_agreement("naive: mean of 3, wall clock", *naive_runs, None))


def _describe_setting(
    meter: LatencyMeter,
    specs: Sequence[ArchSpec],
    num_loads: int,
    ratios: Sequence[float],
    seconds: Sequence[float],
) -> str:
    """Say what was read, on what, beside what, and how long it took."""
    spread = max(ratios) / min(ratios)
    verdict = "yes" if spread >= MIN_SPREAD else "no"
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    return (
        f"{len(specs)} networks on {device_name(meter.device)}, mode {meter.mode}, {meter.dtype}, "
        f"max/min latency {spread:.1f} (at least {MIN_SPREAD:g}: {verdict}); "
        f"{num_loads} other processes of this benchmark's, {load}; "
        f"{seconds[0]:.0f} and {seconds[1]:.0f} s a run."
    )


def _describe_readings(readings: Sequence[Latency]) -> str:
    """Say how wide the intervals are, and how often the machine disturbed a reading."""
    widths = [reading.ci / reading.ratio for reading in readings]
    rejected = sum(reading.rejected for reading in readings)
    rounds = sum(reading.rounds for reading in readings)
    disturbed = sum("disturbed" in reading.flags for reading in readings)
    return (
        f"Half-width of the 95 % interval: median {statistics.median(widths):.2%}, "
        f"worst {max(widths):.2%}; rounds rejected {rejected / (rejected + rounds):.0%}, "
        f"readings flagged disturbed {disturbed} of {len(readings)}."
    )


def _format_agreement(
    name: str,
    first: Sequence[float],
    second: Sequence[float],
    demanded: tuple[float, float] | None,
) -> str:
    """Return the row of a way to read: how well its two runs agree, and whether as demanded."""
    every, num_pairs = compute_tau(first, second)
    apart, num_apart = compute_tau(first, second, apart=APART)
    # By how much the two runs differ, network by network.
    gaps = [abs(b / a - 1) for a, b in zip(first, second, strict=True)]
    verdict = "-"
    if demanded is not None:
        verdict = "yes" if every >= demanded[0] and apart >= demanded[1] else "no"
    apart_cell = f"{apart:.3f} ({num_apart} of {num_pairs} pairs)"
    gap_cell = f"{statistics.fmean(gaps):.2%} / {max(gaps):.2%}"
    return format_row([name, f"{every:.3f}", apart_cell, gap_cell, verdict])


def _parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--networks", type=int, default=20, help="how many are drawn")
    parser.add_argument("--load", type=int, default=1, help="processes that compute meanwhile")
    parser.add_argument("--rounds", type=int, default=100, help="most rounds of a network")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    return parser.parse_args()


if __name__ == "__main__":
    main()
