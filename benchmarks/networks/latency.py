"""How well latencies rank networks: two readings against each other, beside two naive timings, in one run.

    python benchmarks/networks/latency.py [--networks 20] [--load 1] [--rounds 100] [--device cpu]

Networks are drawn at random from conf/space/span.yaml and spanv2.yaml; they have to spread over at least a
factor of three in runtime. Meanwhile other processes load so many cores with convolutions. Demanded of
Kendall's tau over two runs on a CPU: 0.93, and 0.98 on pairs whose ratios are more than 2 % apart; on a GPU
0.95 and 0.99. The naive timing runs each network three times by the wall clock, without a warm-up, one
network after the other.
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

from benchmarks.shared.ranks import tau
from nas.cli.composition import compose_command
from nas.cli.schema import build as build_config
from nas.cli.schema import conform
from nas.measure.device import device_name, pick_device
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.meter import LatencyMeter
from nas.record import Latency
from search_spaces import ArchSpec, build, published
from search_spaces.chooser import RandomChooser, Space

DEMANDED = {"cpu": (0.93, 0.98), "cuda": (0.95, 0.99)}
APART = 0.02
MIN_SPREAD = 3.0
LOAD = """
import torch
torch.set_num_threads(1)
conv, x = torch.nn.Conv2d(32, 32, 3, padding=1), torch.rand(1, 32, 64, 64)
with torch.inference_mode():
    while True:
        conv(x)
"""


def networks(count: int) -> list[ArchSpec]:
    """Different networks, drawn at random, half of them from each space."""
    found: dict[str, ArchSpec] = {}
    for group, wanted in (("span", count - count // 2), ("spanv2", count)):
        space: Space = build_config(
            conform(compose_command("search", [f"space={group}"]).tree["space"], Space, "space", {})
        )
        for seed in itertools.count():
            if len(found) >= wanted:
                break
            spec = space.sample(RandomChooser(random.Random(seed)))
            found[spec.arch_id] = spec
    return list(found.values())


@contextlib.contextmanager
def loaded(num_processes: int) -> Iterator[None]:
    """Other processes compute meanwhile."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", LOAD], env=environment)
        for _ in range(num_processes)
    ]
    time.sleep(5 if running else 0)  # until they have imported torch
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def naive(specs: Sequence[ArchSpec], size: tuple[int, int], device: torch.device) -> list[float]:
    """Seconds of each network: the mean of three forwards, no warm-up."""
    image = torch.rand(1, 3, *size, device=device)
    found = []
    with torch.inference_mode():
        for spec in specs:
            network = build(spec).to(device).eval()
            start = time.perf_counter()
            for _ in range(3):
                network(image)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            found.append((time.perf_counter() - start) / 3)
    return found


def row(
    name: str, first: Sequence[float], second: Sequence[float], demanded: Sequence[float] | None
) -> str:
    every, apart = tau(first, second), tau(first, second, apart=APART)
    gaps = [abs(b / a - 1) for a, b in zip(first, second, strict=True)]
    verdict = "-"
    if demanded is not None:
        verdict = "yes" if every[0] >= demanded[0] and apart[0] >= demanded[1] else "no"
    return (
        f"| {name} | {every[0]:.3f} | {apart[0]:.3f} ({apart[1]} of {every[1]} pairs) | "
        f"{statistics.fmean(gaps):.2%} / {max(gaps):.2%} | {verdict} |"
    )


def read(meter: LatencyMeter, specs: Sequence[ArchSpec], seed: int) -> list[Latency]:
    found = meter.measure_all(specs, seed=seed)
    failed = [one for one in found if isinstance(one, RuntimeError)]
    if failed:
        raise failed[0]
    return [one for one in found if isinstance(one, Latency)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--load", type=int, default=1, help="processes that compute meanwhile")
    parser.add_argument("--rounds", type=int, default=100, help="most rounds of a network")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = pick_device(options.device)
    tree = compose_command("profile", ["arch=published/span"]).tree["latency"]
    config: LatencyConfig = build_config(
        conform(tree | {"max_rounds": options.rounds}, LatencyConfig, "latency", {})
    )
    meter = LatencyMeter(config, baseline=published("span"), device=device)
    specs = networks(options.networks)
    size = (meter.sizes[0].height, meter.sizes[0].width)
    readings, timings, seconds = [], [], []
    with loaded(options.load):
        for seed in range(2):
            timings.append(naive(specs, size, device))
            start = time.perf_counter()
            readings.append(read(meter, specs, seed))
            seconds.append(time.perf_counter() - start)
    ratios = [[one.ratio for one in run] for run in readings]
    spread = max(ratios[0]) / min(ratios[0])
    every = [one for run in readings for one in run]
    print(
        f"{len(specs)} networks on {device_name(device)}, mode {meter.mode}, {meter.dtype}, "
        f"max/min latency {spread:.1f} (at least {MIN_SPREAD:g}: {'yes' if spread >= MIN_SPREAD else 'no'}); "
        f"{options.load} other processes of this benchmark's, load average {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores; {seconds[0]:.0f} and {seconds[1]:.0f} s a run."
    )
    widths = [one.ci / one.ratio for one in every]
    rejected, kept = sum(one.rejected for one in every), sum(one.rounds for one in every)
    print(
        f"Half-width of the 95 % interval: median {statistics.median(widths):.2%}, worst {max(widths):.2%}; "
        f"rounds rejected {rejected / (rejected + kept):.0%}, "
        f"readings flagged disturbed {sum('disturbed' in one.flags for one in every)} of {len(every)}.\n"
    )
    kind = DEMANDED[meter.device.type]
    print(
        "| two runs | tau | tau of pairs > 2 % apart | disagreement, mean / worst | as demanded |"
    )
    print("|---|---|---|---|---|")
    print(row("paired ratios", ratios[0], ratios[1], kind))
    print(row("naive: mean of 3, wall clock", timings[0], timings[1], None))


if __name__ == "__main__":
    main()
