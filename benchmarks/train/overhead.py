"""What does the trainer cost beside the network? And what do merged kernels gain in it?

    python benchmarks/train/overhead.py [--rounds 8] [--batch 16] [--patch 64]

SPAN with 28 channels and 6 blocks, x4, in its training form, on one thread. All sides train the
same network on the same patches, and take turns step by step, so that what else the machine does
falls on all of them; seconds are those of the processor. The trainer is `StageTrainer` with an L1
loss, AdamW, clipping and averaged weights. The bare loop does the same with PyTorch's own calls and
nothing around them: patches, forward, loss, backward, clipping, optimizer, average. Branch by branch
is that loop with each branch as a convolution of its own, in PyTorch's own layout as the networks'
published code trains, and in the trainer's (channels last). Demanded: the trainer takes at most 5 %
more than the bare loop, and at least 4 times as many steps a second as published code.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.networks.reparam import PHOTOGRAPHS, run_branches
from benchmarks.shared.arguments import make_parser
from nas.data.builtin.photographs import photograph
from nas.data.patches import PatchStore
from nas.data.sets import ImageSet
from nas.losses.pixel import L1
from nas.train.recipe.config import Patches, Stage
from nas.train.recipe.optimizers import AdamW
from nas.train.recipe.schedules import Constant
from nas.train.trainer import StageTrainer
from search_spaces import build, published
from search_spaces.network import Network

TRAINER, BARE = "trainer", "bare loop"
PUBLISHED, BRANCHES = "branch by branch, as published", "branch by branch, channels last"
DEMANDED_OVERHEAD, DEMANDED_RATIO = 0.05, 4.0
RATE, BETAS, EMA, CLIP = 1e-4, (0.9, 0.99), 0.999, 1.0


def make_stage(batch: int, patch: int) -> Stage:
    """Return what is trained: an L1 loss, AdamW, clipping and averaged weights."""
    return Stage(
        steps=1_000_000,
        patches=Patches(lr=[patch], hr=None, batch_size=batch, accumulate=1),
        losses={"l1": L1(weight=1.0)},
        optimizer=AdamW(lr=RATE, betas=BETAS, decay=0.0, relative=False),
        schedule=Constant(),
        ema=EMA,
        clip=CLIP,
        form="train",
    )


def make_network() -> Network:
    """Return SPAN in its training form, of the same weights each time."""
    torch.manual_seed(0)
    return build(published("span"), train=True)


def make_trainer(net: Network, store: PatchStore, batch: int, patch: int) -> Callable[[], float]:
    """Return the trainer's step."""
    trainer = StageTrainer(
        net,
        make_stage(batch, patch),
        store,
        shapes=[(patch, patch)],
        device=torch.device("cpu"),
    )
    return trainer.step


def make_bare_loop(
    net: Network,
    store: PatchStore,
    batch: int,
    patch: int,
    *,
    layout: torch.memory_format = torch.channels_last,
) -> Callable[[], float]:
    """Return the same step without a trainer."""
    net = net.to(memory_format=layout).train()  # type: ignore[call-overload]
    weights = list(net.parameters())
    average = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, lr=RATE, betas=BETAS, weight_decay=0.0, fused=True)
    done = 0

    def step() -> float:
        nonlocal done
        lr, hr = store.batch(done, batch, patch)
        optimizer.zero_grad(set_to_none=True)
        loss = F.l1_loss(net(lr.contiguous(memory_format=layout)), hr)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        done += 1
        decay = min(EMA, (1 + done) / (10 + done))
        with torch.no_grad():
            for mean, weight in zip(average, weights, strict=True):
                mean.lerp_(weight, 1 - decay)
        return loss.item()

    return step


def time_in_turn(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return processor seconds of each side's steps, which take turns; a first one warms up.

    The order changes from round to round: no side always follows the same one.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        names = list(sides)
        for name in names if turn % 2 else names[::-1]:
            begin = time.process_time()
            sides[name]()
            if turn:
                times[name].append(time.process_time() - begin)
    return times


def main() -> None:
    options = _parse_arguments()
    torch.set_num_threads(1)
    pairs = tuple(photograph(name, source="") for name in PHOTOGRAPHS)
    store = PatchStore(ImageSet(name="train", pairs=pairs, scale=4), seed=0, progress=False)

    batch, patch = options.batch, options.patch
    sides = {
        TRAINER: make_trainer(make_network(), store, batch, patch),
        BARE: make_bare_loop(make_network(), store, batch, patch),
        PUBLISHED: make_bare_loop(
            run_branches(make_network()), store, batch, patch, layout=torch.contiguous_format
        ),
        BRANCHES: make_bare_loop(run_branches(make_network()), store, batch, patch),
    }
    first = {name: step() for name, step in sides.items()}
    times = time_in_turn(sides, options.rounds)

    print(f"SPAN-28, batch {batch}, {patch}x{patch}, one thread, {options.rounds} rounds")
    for name in sides:
        print(f"  {name:<32} {1 / statistics.median(times[name]):7.3f} steps/s")
    for line in describe_times(times):
        print(f"  {line}")
    print(f"  first losses: {', '.join(f'{loss:.8f}' for loss in first.values())}")


def describe_times(times: Mapping[str, Sequence[float]]) -> list[str]:
    """Say what the trainer costs beside the bare loop, and what it gains over branches.

    Args:
        times: processor seconds of each side's steps.
    """
    overheads = _list_ratios(times[TRAINER], times[BARE])
    overhead = statistics.median(overheads) - 1
    lines = [
        f"trainer / bare loop: {overhead:+.1%} (from {min(overheads) - 1:+.1%} to "
        f"{max(overheads) - 1:+.1%}); at most {DEMANDED_OVERHEAD:.0%}: "
        f"{'yes' if overhead <= DEMANDED_OVERHEAD else 'no'}"
    ]
    for name in (PUBLISHED, BRANCHES):
        gains = _list_ratios(times[name], times[TRAINER])
        gain = statistics.median(gains)
        verdict = f"; at least {DEMANDED_RATIO:g}: {'yes' if gain >= DEMANDED_RATIO else 'no'}"
        lines.append(
            f"{name} / trainer: {gain:.2f} (from {min(gains):.2f} to {max(gains):.2f})"
            f"{verdict if name == PUBLISHED else ''}"
        )
    return lines


def _list_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def _parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="steps of each side, in turn")
    parser.add_argument("--batch", type=int, default=16, help="patches of a step")
    parser.add_argument("--patch", type=int, default=64, help="side of the LR patches")
    return parser.parse_args()


if __name__ == "__main__":
    main()
