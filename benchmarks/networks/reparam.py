"""How much faster is training with merged kernels than with the branches run one by one?

    python benchmarks/networks/reparam.py [--form conv3xc] [--rounds 5] [--batch 8] [--patch 64]

SPAN with 28 channels and 6 blocks, x4, its 3x3 convolutions held in a training form (RepConv2d). A
step is forward, L1 loss, backward and AdamW, on one thread; both sides hold the same numbers and
take turns, so that what else the machine does falls on both. Demanded: at least 4 times the steps
per second with Conv3XC, the form of SPAN; other forms have fewer branches, or as in `errn2` more.
The second figure is the share of the patch store in a training step of the plain network, on
photographs: at most 3 %.
"""

import argparse
import dataclasses
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.shared.arguments import make_parser
from nas.data.builtin.photographs import photograph
from nas.data.patches import PatchStore
from nas.data.sets import ImageSet
from search_spaces import BlockSpec, build, published
from search_spaces.network import Network
from search_spaces.reparam import rep_convs

# SPAN's own form first; arguments are those that the report's networks have.
FORMS = {
    "conv3xc": BlockSpec.of("conv3xc", gain=2),
    "erb": BlockSpec.of("erb", ratio=2),
    "mbrb": BlockSpec.of("mbrb", expansion=2),
    "errn2": published("errn2").train_form,
    "repvgg": BlockSpec.of("repvgg"),
    "asymmetric": BlockSpec.of("asymmetric"),
    "lora": BlockSpec.of("lora", rank=4, alpha=4, frozen=False),
}
DEMANDED_RATIO = 4.0  # merged kernels over branches, of Conv3XC
DEMANDED_SHARE = 0.03  # of a plain training step
MERGED, BRANCHES, PLAIN, PATCHES = "merged kernels", "branches", "plain (no branches)", "patches"
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "motorcycle_left")


def run_branches(net: Network) -> Network:
    """Let a network run its branches one by one; returns it."""
    for _, conv in rep_convs(net):
        conv.forward = conv.branches
    return net


def make_step(net: nn.Module, lr: Tensor, hr: Tensor) -> Callable[[], Tensor]:
    """Return a training step on one batch; it gives the loss."""
    # AdamW, so that the optimiser's own time is part of a step, as in training.
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def take_step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = F.l1_loss(net(lr), hr)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return take_step


def time_call(call: Callable[[], object]) -> float:
    """Return seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def time_in_turn(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return seconds of each side's calls, which take turns, after one call each to warm up."""
    for call in sides.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            times[name].append(time_call(call))
    return times


def main() -> None:
    options = _parse_arguments()
    torch.set_num_threads(1)
    pairs = tuple(photograph(name, source="") for name in PHOTOGRAPHS)
    store = PatchStore(ImageSet(name="train", pairs=pairs, scale=4), seed=0, progress=False)
    lr, hr = store.batch(0, options.batch, options.patch)

    # Both sides hold the same numbers, and must compute the same.
    torch.manual_seed(0)
    spec = dataclasses.replace(published("span"), train_form=FORMS[options.form])
    merged, branches = build(spec, train=True), run_branches(build(spec, train=True))
    branches.load_state_dict(merged.state_dict())
    with torch.no_grad():
        difference = (merged(lr) - branches(lr)).abs().max().item()

    # Every side takes its turn, the patch store too: what else the machine does falls on all.
    steps = itertools.count(1)
    networks = {MERGED: merged, BRANCHES: branches, PLAIN: build(published("span"))}
    sides: dict[str, Callable[[], object]] = {
        name: make_step(net, lr, hr) for name, net in networks.items()
    }
    sides[PATCHES] = lambda: store.batch(next(steps), options.batch, options.patch)
    times = time_in_turn(sides, options.rounds)

    shape = f"batch {options.batch}, {options.patch}x{options.patch}"
    print(f"SPAN-28, {options.form}, {shape}, one thread, {options.rounds} rounds")
    for name in networks:
        print(f"  {name:<20} {1 / statistics.median(times[name]):7.3f} steps/s")
    print(_describe_ratio(times, options.form, difference))
    print(_describe_share(times))


def _describe_ratio(times: Mapping[str, Sequence[float]], form: str, difference: float) -> str:
    """Say how many times as fast merged kernels are, and how far the outputs differ."""
    ratios = [b / m for m, b in zip(times[MERGED], times[BRANCHES], strict=True)]
    ratio = statistics.median(ratios)
    demanded = ""
    if form == "conv3xc":
        verdict = "yes" if ratio >= DEMANDED_RATIO else "no"
        demanded = f"at least {DEMANDED_RATIO:g}: {verdict}; "
    return (
        f"  merged kernels / branches {ratio:.2f} (from {min(ratios):.2f} to {max(ratios):.2f}); "
        f"{demanded}outputs differ by at most {difference:.1e}"
    )


def _describe_share(times: Mapping[str, Sequence[float]]) -> str:
    """Say how much of a plain training step the patch store takes."""
    patches_s = statistics.median(times[PATCHES])
    share = patches_s / statistics.median(times[PLAIN])
    verdict = "yes" if share <= DEMANDED_SHARE else "no"
    return (
        f"  patches {1000 * patches_s:.1f} ms, {share:.2%} of a plain step; "
        f"at most {DEMANDED_SHARE:.0%}: {verdict}"
    )


def _parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--form", choices=FORMS, default="conv3xc", help="how a 3x3 convolution is held"
    )
    parser.add_argument("--rounds", type=int, default=5, help="steps of each side, in turn")
    parser.add_argument("--batch", type=int, default=8, help="patches of a step")
    parser.add_argument("--patch", type=int, default=64, help="side of the LR patches")
    return parser.parse_args()


if __name__ == "__main__":
    main()
