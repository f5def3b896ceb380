"""Which built-in training data last and tell networks apart? Photographs, synthetic, mixtures.

    python benchmarks/proxy/mixtures.py --shared ../shared [MIXTURE ...] [--sizes 12x1 28x6]
    python benchmarks/proxy/mixtures.py --shared ../shared --table

Ladder sizes are trained over the bicubic base for 800, 4,000 and 16,000 steps with the default
proxy on each mixture, a training of its own for each length, and read on the mixture's val images
and on Set5, Set14 and BSD100, of which nothing was trained on. `five` is the five photographs that
data=builtin was before.

Each training appends one line to the results file; what stands there is not trained again. The
table holds PSNR in dB of each size: data last where more steps give more, and tell networks apart
where the sizes differ.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.proxy.truth import DEVICE, TEST_SETS, open_judged, read_psnr
from benchmarks.shared.arguments import make_parser, pick_names
from benchmarks.shared.lines import Line, append_line, read_lines
from benchmarks.shared.tables import format_head, format_row
from nas.analysis.ladder import RUNGS, rung_spec
from nas.commands.search import compose_search
from nas.data.patches import PatchStore
from nas.data.roles import Roles, open_roles
from nas.data.sets import ImageSet
from nas.system.seeds import derived_seed
from nas.train.proxy import OverBase, ProxyConfig, start_proxy

PHOTOGRAPHS = "data.sources.builtin"  # the key of the built-in photographs
# Overrides of a search; the share is that of synthetic patches.
MIXTURES = {
    "five": [
        "data.synthetic=0",
        f"{PHOTOGRAPHS}.scales=[1]",
        f"{PHOTOGRAPHS}.train=[motorcycle_left,motorcycle_right,coffee,rocket,ihc]",
        f"{PHOTOGRAPHS}.val=[astronaut,chelsea]",
    ],
    "photographs": ["data.synthetic=0"],
    "quarter": ["data.synthetic=0.25"],
    "half": ["data.synthetic=0.5"],
    "three_quarters": ["data.synthetic=0.75"],
    "synthetic": ["data.synthetic=1"],
}
STEPS = (800, 4_000, 16_000)


def open_mixture(mixture: str) -> Roles:
    """Open the images of a mixture."""
    return open_roles(
        compose_search("data=builtin", *MIXTURES[mixture]).training.data, scale=4, progress=False
    )


def train_size(size: str, steps: int, roles: Roles, judged: dict[str, ImageSet]) -> Line:
    """Train a ladder size on a mixture; return its PSNR in dB on each test set and on val."""
    proxy: ProxyConfig = replace(compose_search("proxy=brief").training.proxy, steps=steps)
    # Every mixture and length begins from the same seeds.
    patches = PatchStore(roles.need("train"), seed=derived_seed(0, "patches"), progress=False)
    seed = derived_seed(0, "mixtures", size)
    trainer = start_proxy(rung_spec(size, 4), proxy, patches, seed=seed, device=DEVICE)
    trainer.run(steps, tell=lambda _: None, give_way=lambda: None)

    upscale = OverBase(trainer.averaged())
    return {"psnr_db": read_psnr(upscale, judged | {"val": roles.need("val")})}


def format_table(lines: Sequence[Line], sizes: Sequence[str]) -> Iterator[str]:
    """Yield a Markdown table: a mixture and a length a row, PSNR of every size in each cell."""
    sets = (*TEST_SETS, "val")  # val is the mixture's own, not the same images for all
    by_case = {(line["mixture"], line["steps"], line["size"]): line["psnr_db"] for line in lines}
    yield from format_head(["data", "steps", *(f"{name}: {' / '.join(sizes)}" for name in sets)])

    for mixture, steps in itertools.product(MIXTURES, STEPS):
        readings = [by_case.get((mixture, steps, size)) for size in sizes]
        if not any(readings):
            continue
        cells = [
            " / ".join(f"{psnr_db[name]:.2f}" if psnr_db else "-" for psnr_db in readings)
            for name in sets
        ]
        yield format_row([mixture, f"{steps:,}", *cells])


def main() -> None:
    options = _parse_arguments()
    torch.set_num_threads(1)
    judged = {} if options.table else open_judged(options.shared)

    # The shortest first: they tell soonest whether the longer ones are worth their time.
    lines = []
    for steps, mixture in itertools.product(sorted(options.steps), options.mixtures):
        roles = open_mixture(mixture)
        for size in options.sizes:
            setting = {"mixture": mixture, "size": size, "steps": steps, "data": roles.fingerprints}
            if not options.table and not read_lines(options.results, setting):
                line = setting | train_size(size, steps, roles, judged)
                append_line(options.results, line)
                print(line, flush=True)
            lines += read_lines(options.results, setting)[:1]
    print("\n".join(format_table(lines, options.sizes)))


def _parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__, results="mixtures.jsonl")
    parser.add_argument("mixtures", nargs="*", help=f"by default all: {', '.join(MIXTURES)}")
    parser.add_argument(
        "--shared", type=Path, required=True, help="folder that holds data/Set5, ..."
    )
    parser.add_argument(
        "--sizes", nargs="+", default=list(RUNGS), choices=RUNGS, help="of the ladder"
    )
    parser.add_argument(
        "--steps", nargs="+", type=int, default=list(STEPS), choices=STEPS, help="of the trainings"
    )
    parser.add_argument(
        "--table", action="store_true", help="print the table of what is there, and train nothing"
    )

    options = parser.parse_args()
    options.mixtures = pick_names(parser, options.mixtures, MIXTURES, "mixture")
    return options


if __name__ == "__main__":
    main()
