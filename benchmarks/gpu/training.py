"""How much faster are training steps by what `speed=auto` chooses? SPAN-28, on the GPU.

    python benchmarks/gpu/training.py [--batch 64] [--patch 64] [--out FOLDER]

Needs what `nas` needs. SPAN with 28 channels and 6 blocks, x4, in its training form, L1 loss and
AdamW: iterations a second of plain steps (float32 as it is written, patches cut on the CPU), with
patches cut on the device, and of each choice that is tried, then what the trial before a stage of
100,000 steps chooses, and by how much that is faster. Patches of the device are compared with the
CPU's, bit by bit. Rows are printed, and written to gpu-training-<time>.jsonl in --out, else in $OUT,
else in benchmarks/results. Without a GPU it times plain steps on the CPU.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.gpu.networks import make_span
from benchmarks.gpu.rows import Check, Fact, Figure, Row, write_row
from benchmarks.networks.reparam import PHOTOGRAPHS
from benchmarks.shared.arguments import make_parser
from benchmarks.shared.paths import RESULTS
from benchmarks.train.overhead import make_stage
from nas.data.builtin.photographs import photograph
from nas.data.patches import PatchStore
from nas.data.sets import ImageSet
from nas.measure.device import fingerprint, pick_device
from nas.train.speed.choice import choose_speed, describe_choice, list_candidates, try_speed
from nas.train.speed.config import PLAIN, Speed
from nas.train.speed.device_patches import DeviceImages
from nas.train.trainer import Batches, StageTrainer
from search_spaces.network import build

STEPS = 100_000  # of the stage for which a choice is made
COMPARED = 20  # batches whose patches are compared


def measure_training(batch: int, patch: int, device: torch.device) -> Iterator[Row]:
    """Yield what steps take, plain and by each choice."""
    yield Fact(name="device", value=fingerprint(device))
    pairs = tuple(photograph(name, source="") for name in PHOTOGRAPHS)
    store = PatchStore(ImageSet(name="train", pairs=pairs, scale=4), seed=0, progress=False)
    on_device = DeviceImages(store.images, device).cut(store)
    yield compare_patches(store, on_device, batch, patch)

    def open_trainer(batches: Batches) -> Callable[[Speed], StageTrainer]:
        def make(speed: Speed) -> StageTrainer:
            torch.manual_seed(0)
            net = build(make_span(), train=True)
            stage = make_stage(batch, patch)
            shapes = [(patch, patch)]
            return StageTrainer(net, stage, batches, shapes=shapes, device=device, speed=speed)

        return make

    # Plain steps with either kind of patches, then each choice.
    yield _time_steps("plain steps, patches cut on the CPU", open_trainer(store), PLAIN)
    make = open_trainer(on_device)
    for speed in (PLAIN, *list_candidates(device)):
        try:
            yield _time_steps(f"steps {speed}, patches cut on the device", make, speed)
        except RuntimeError as error:
            words = " ".join(str(error).split())[:200]
            yield Check(name=f"steps {speed}", words=f"not measured: {words}")

    choice = choose_speed(make, list_candidates(device), steps=STEPS)
    yield Fact(name="choice", value=f"{describe_choice(choice)} {list(choice.reasons)}")
    yield Figure(name="speed=auto over plain steps", value=choice.gain)


def compare_patches(store: PatchStore, on_device: Batches, batch: int, patch: int) -> Check:
    """Compare patches of a device with those of the CPU's store, bit by bit."""
    num_unequal = 0
    for step in range(COMPARED):
        ours, theirs = on_device.batch(step, batch, patch), store.batch(step, batch, patch)
        num_unequal += sum(not torch.equal(a.cpu(), b) for a, b in zip(ours, theirs, strict=True))
    return Check(
        name="patches cut on the device",
        words=f"{num_unequal} of {2 * COMPARED} differ from the CPU's",
        is_wrong=num_unequal > 0,
    )


def _time_steps(name: str, make: Callable[[Speed], StageTrainer], speed: Speed) -> Figure:
    trial = try_speed(make(speed), speed)
    return Figure(
        name=name,
        value=1 / trial.step_seconds,
        unit="steps/s",
        note=f"{trial.begin_seconds:.1f} s for the first steps",
    )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--batch", type=int, default=64, help="patches of a step")
    parser.add_argument("--patch", type=int, default=64, help="side of the LR patches")
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT") or RESULTS), help="a folder"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"gpu-training-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    for row in measure_training(options.batch, options.patch, pick_device("auto")):
        write_row(file, "training", row)


if __name__ == "__main__":
    main()
