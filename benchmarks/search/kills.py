"""Whether a search that was killed again and again ends as one that was not.

    python benchmarks/search/kills.py [--table-kills 20] [--training-kills 5] [--seed 0]

Two searches with one worker each: one looks up ESR-Bench-mini; one trains on small images that are
drawn here, and replays latencies. Each runs once to its end, and once more under SIGKILLs of its
whole process group. The moments are drawn at random, spread over the bytes that the journal grows
by, and up to a tenth of a second after a write. Compared is trials.csv, but for the columns of
measured seconds. The exit status is 1 where one differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))


import numpy as np
import pandas as pd
from PIL import Image

SECONDS = "_seconds"  # ends the names of columns that hold measured times
POLL_SECONDS = 0.002
TABLE = [
    "evaluator=table",
    "space=esr_bench_mini",
    "challenge=esr_bench_mini",
    "proxy.steps=2000",
    "trials=40",
]
TRAINING = [
    "data=folder",
    "device=cpu",
    "trials=12",
    "ladder_seeds=1",
    "proxy.steps=40",
    "space.num_blocks=[1,2,3]",
    "space.channels=[8,12,16]",
    "latency.sizes=[[16,16]]",
    "latency.min_rounds=3",
    "latency.max_rounds=3",
]


def draw_images(folder: Path) -> list[str]:
    """Draw four images to train on and two to judge by; return the overrides that name them."""
    generator = np.random.default_rng(0)
    for role, count, side in (("train", 4, 128), ("val", 2, 96)):
        (folder / role).mkdir(parents=True)
        for number in range(count):
            coarse = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            image = coarse.resize((side, side), Image.Resampling.BICUBIC)
            image.save(folder / role / f"{number}.png")
    return [f"data.{role}={folder / role}" for role in ("train", "val")]


def start_search(run: Path, overrides: list[str]) -> subprocess.Popen[bytes]:
    """Start `nas search` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "nas", "search", f"run={run}", "workers=1", *overrides],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish_search(run: Path, overrides: list[str]) -> None:
    """Search to the end."""
    process = start_search(run, overrides)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"nas search run={run}: {errors.decode()}")


def kill_search(run: Path, overrides: list[str], growth: int, delay: float) -> bool:
    """Kill a search a moment after its journal has grown; return whether it was still running."""
    journal = run / "journal.log"

    def measure() -> int:
        return journal.stat().st_size if journal.exists() else 0

    end = measure() + growth
    process = start_search(run, overrides)
    while measure() < end:
        if process.poll() is not None:
            return False
        time.sleep(POLL_SECONDS)
    time.sleep(delay)  # into what happens between two writes
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def read_trials(run: Path) -> pd.DataFrame:
    """Read a run's trials without the columns of measured seconds."""
    frame = pd.read_csv(run / "trials.csv")
    return frame[[name for name in frame if not name.endswith(SECONDS)]]


def compare(name: str, folder: Path, overrides: list[str], kills: int, rng: random.Random) -> bool:
    """Search with and without kills; print and return whether both end alike."""
    whole, killed = folder / f"{name}_whole", folder / f"{name}_killed"
    finish_search(whole, overrides)

    # A reading differs from the next, and what is suggested follows from it: both replay one.
    if "evaluator=table" not in overrides:
        overrides = [*overrides, f"replay={whole}"]
        whole = folder / f"{name}_replayed"
        finish_search(whole, overrides)

    # Kills are spread over the whole search, by the bytes that its journal grows by.
    share = (whole / "journal.log").stat().st_size / (kills + 1)
    num_kills = sum(
        kill_search(killed, overrides, round(rng.uniform(0, 2) * share), rng.uniform(0, 0.1))
        for _ in range(kills)
    )
    finish_search(killed, overrides)

    trials, expected = read_trials(killed), read_trials(whole)
    verdict = "equal" if trials.equals(expected) else "DIFFERENT"
    print(f"{name}: killed {num_kills} times of {kills}, {len(trials)} rows: {verdict}", flush=True)
    return trials.equals(expected)


def main() -> None:
    """Compare both searches; the exit status is 1 where one differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table-kills", type=int, default=20)
    parser.add_argument("--training-kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()

    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = draw_images(folder)
        searches = {
            "table": (TABLE, options.table_kills),
            "training": ([*TRAINING, *images], options.training_kills),
        }
        same = [
            compare(name, folder, overrides, kills, rng)
            for name, (overrides, kills) in searches.items()
        ]
    sys.exit(not all(same))


if __name__ == "__main__":
    main()
