"""Training with merged kernels against the same network with its branches run one by one, in one run.

    python benchmarks/networks/reparam.py [--form conv3xc] [--rounds 5] [--batch 8] [--patch 64]

SPAN with 28 channels and 6 blocks, x4, its 3x3 convolutions held in a training form (RepConv2d). A step is
forward, L1 loss, backward and AdamW, on one thread; both sides hold the same numbers and take turns, so that
what else the machine does falls on both. Demanded: at least 4 times the steps per second with Conv3XC, the
form of SPAN; other forms have fewer branches, or as in `errn2` more. The second figure is
the share of the patch store in a training step of the plain network, on photographs: at most 3 %.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.data.builtin.photographs import photograph
from nas.data.patches import PatchStore
from nas.data.sets import ImageSet
from search_spaces import BlockSpec, build, published
from search_spaces.network import Network
from search_spaces.reparam import rep_convs

FORMS = {
    "conv3xc": BlockSpec.of("conv3xc", gain=2),
    "erb": BlockSpec.of("erb", ratio=2),
    "mbrb": BlockSpec.of("mbrb", expansion=2),
    "errn2": published("errn2").train_form,
    "repvgg": BlockSpec.of("repvgg"),
    "asymmetric": BlockSpec.of("asymmetric"),
    "lora": BlockSpec.of("lora", rank=4, alpha=4, frozen=False),
}
DEMANDED_RATIO = 4.0
DEMANDED_SHARE = 0.03
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "motorcycle_left")


def run_branches(net: Network) -> Network:
    """The same network with its branches run one by one."""
    for _, conv in rep_convs(net):
        conv.forward = conv.branches
    return net


def make_step(net: nn.Module, lr: Tensor, hr: Tensor) -> Callable[[], Tensor]:
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = F.l1_loss(net(lr), hr)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--form", choices=FORMS, default="conv3xc", help="how a 3x3 convolution is held"
    )
    parser.add_argument("--rounds", type=int, default=5, help="steps of each side, in turn")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=64, help="side of the LR patches")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = ImageSet(
        name="train", pairs=tuple(photograph(n, source="") for n in PHOTOGRAPHS), scale=4
    )
    store = PatchStore(images, seed=0, progress=False)
    lr, hr = store.batch(0, options.batch, options.patch)

    torch.manual_seed(0)
    spec = dataclasses.replace(published("span"), train_form=FORMS[options.form])
    merged, branches = build(spec, train=True), run_branches(build(spec, train=True))
    branches.load_state_dict(merged.state_dict())
    with torch.no_grad():
        difference = (merged(lr) - branches(lr)).abs().max().item()
    sides = {
        "merged kernels": make_step(merged, lr, hr),
        "branches": make_step(branches, lr, hr),
        "plain (no branches)": make_step(build(published("span")), lr, hr),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    patches: list[float] = []
    for step in sides.values():
        step()
    for count in range(options.rounds):
        for name, step in sides.items():
            times[name].append(seconds(step))
        patches.append(seconds(lambda c=count: store.batch(c + 1, options.batch, options.patch)))
    shape = f"batch {options.batch}, {options.patch}x{options.patch}"
    print(f"SPAN-28, {options.form}, {shape}, one thread, {options.rounds} rounds")
    for name, values in times.items():
        print(f"  {name:<20} {1 / statistics.median(values):7.3f} steps/s")
    ratios = [b / m for m, b in zip(times["merged kernels"], times["branches"], strict=True)]
    ratio = statistics.median(ratios)
    verdict = "yes" if ratio >= DEMANDED_RATIO else "no"
    demanded = f"at least {DEMANDED_RATIO:g}: {verdict}; " if options.form == "conv3xc" else ""
    print(
        f"  merged kernels / branches {ratio:.2f} (from {min(ratios):.2f} to {max(ratios):.2f});",
        end=" ",
    )
    print(f"{demanded}outputs differ by at most {difference:.1e}")
    share = statistics.median(patches) / statistics.median(times["plain (no branches)"])
    verdict = "yes" if share <= DEMANDED_SHARE else "no"
    print(
        f"  patches {1000 * statistics.median(patches):.1f} ms, {share:.2%} of a plain step;",
        end=" ",
    )
    print(f"at most {DEMANDED_SHARE:.0%}: {verdict}")


if __name__ == "__main__":
    main()
