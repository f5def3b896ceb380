"""Does a training that is killed again and again come to the same bits as one that is not?

    python benchmarks/train/kills.py [--kills 10] [--steps 2000] [--seed 0]

A small SPAN is trained twice by recipe=short, with a wider one as its teacher: `nas train` once to
its end, and once under SIGKILLs at random moments, spread over both stages by the bytes that its
log grows by. Compared are the weights, bit by bit, and PSNR at each validation. The exit status is
1 where one differs.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from safetensors.torch import load_file, save_file

from benchmarks.search.kills import POLL_SECONDS, draw_images
from benchmarks.shared.arguments import make_parser
from benchmarks.train.distillation import OUTPUT, make_small
from nas.train.run.log import LOG, read_log
from search_spaces import build
from search_spaces.spec import ArchSpec

STAGES = ("residual", "whole")
VALIDATIONS = 40  # a stage: a checkpoint is written at each


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2000, help="of both stages")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(arguments)

    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = [*write_inputs(folder), f"steps={options.steps}", f"validations={VALIDATIONS}"]
        whole, killed = folder / "whole", folder / "killed"
        finish_training(whole, keys)

        # Kills are spread over the whole training, by the bytes that its log grows by.
        share = (whole / LOG).stat().st_size / (options.kills + 1)
        num_kills = sum(
            kill_training(killed, keys, round(rng.uniform(0, 1.2) * share), rng.uniform(0, 0.3))
            for _ in range(options.kills)
        )
        finish_training(killed, keys)
        is_equal = compare_trainings(whole, killed)
    verdict = "equal" if is_equal else "DIFFERENT"
    print(f"killed {num_kills} times of {options.kills}, {options.steps} steps: {verdict}")
    return 0 if is_equal else 1


def write_inputs(folder: Path) -> list[str]:
    """Write images, an architecture and a teacher; return the overrides that name them."""
    small = make_small()
    wide = ArchSpec.from_json(small.to_json().replace("16", "20"))
    torch.manual_seed(0)
    save_file(build(wide).state_dict(), folder / "wide.safetensors", {"arch": wide.to_json()})
    (folder / "small.json").write_text(small.to_json(), encoding="utf-8")
    return [
        "recipe=short",
        "device=cpu",
        "data=folder",
        *draw_images(folder),
        f"arch={folder / 'small.json'}",
        f"teacher={folder / 'wide.safetensors'}",
        *(f"recipe.stages.{stage}.distill={OUTPUT}" for stage in STAGES),
    ]


def start_training(run: Path, keys: list[str]) -> subprocess.Popen[bytes]:
    """Start `nas train`; a training that was begun goes on by its folder alone."""
    keys = [] if (run / LOG).exists() else keys
    return subprocess.Popen(
        [sys.executable, "-m", "nas", "train", f"run={run}", *keys],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish_training(run: Path, keys: list[str]) -> None:
    """Train to the end."""
    process = start_training(run, keys)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"nas train run={run}: {errors.decode()}")


def kill_training(run: Path, keys: list[str], growth: int, delay: float) -> bool:
    """Kill a training a moment after its log has grown; return whether it was still running."""
    log = run / LOG

    def measure() -> int:
        return log.stat().st_size if log.exists() else 0

    # By bytes, not by seconds: a training is not equally fast on every machine.
    end = measure() + growth
    process = start_training(run, keys)
    while measure() <= end:
        if process.poll() is not None:
            return False
        time.sleep(POLL_SECONDS)
    time.sleep(delay)  # into what happens between two writes
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return True


def compare_trainings(whole: Path, killed: Path) -> bool:
    """Return whether weights are equal to the last bit, and all validations."""
    ours, theirs = (
        load_file(next((run / "weights").glob("*.safetensors"))) for run in (whole, killed)
    )
    curves = [
        [(one.stage, one.step, one.psnr_db) for one in read_log(run)[1]] for run in (whole, killed)
    ]
    is_equal = all(torch.equal(ours[name], theirs[name]) for name in ours)
    return is_equal and ours.keys() == theirs.keys() and curves[0] == curves[1]


if __name__ == "__main__":
    sys.exit(main())
