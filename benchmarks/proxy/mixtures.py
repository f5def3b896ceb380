"""Which built-in training data last and tell networks apart: photographs, synthetic images, mixtures of both.

    python benchmarks/proxy/mixtures.py --shared ../shared [MIXTURE ...] [--sizes 12x1 28x6]
    python benchmarks/proxy/mixtures.py --shared ../shared --table

Ladder sizes are trained over the bicubic base for 800, 4,000 and 16,000 steps with the default proxy on each
mixture, a training of its own for each length, and read on the mixture's val images and on Set5, Set14 and
BSD100, of which nothing was trained on. `five` is the five photographs that data=builtin was before.

Each training appends one line to the results file; what stands there is not trained again.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.proxy.truth import DEVICE, TEST_SETS, open_judged
from benchmarks.shared.lines import Line, append, read
from benchmarks.shared.paths import RESULTS
from nas.analysis.ladder import RUNGS, rung_spec
from nas.commands.search import compose_search
from nas.data.patches import PatchStore
from nas.data.roles import Roles, open_roles
from nas.data.sets import ImageSet
from nas.measure.quality import mean_db, per_image
from nas.search.seeds import derived_seed
from nas.train.proxy import OverBase, ProxyConfig, ProxyTrainer

PHOTOGRAPHS = "data.sources.builtin"
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


def train(size: str, steps: int, roles: Roles, judged: dict[str, ImageSet]) -> Line:
    """Train a ladder size; gives the PSNR in dB on each set, and the seconds."""
    proxy: ProxyConfig = replace(compose_search("proxy=brief").training.proxy, steps=steps)
    patches = PatchStore(roles.need("train"), seed=derived_seed(0, "patches"), progress=False)
    seed = derived_seed(0, "mixtures", size)
    trainer = ProxyTrainer(rung_spec(size, 4), proxy, patches, seed=seed, device=DEVICE)
    trainer.run(steps, tell=lambda _: None, give_way=lambda: None)
    upscale = OverBase(trainer.averaged())
    sets = judged | {"val": roles.need("val")}
    return {
        "psnr_db": {name: mean_db(per_image(upscale, one, DEVICE)) for name, one in sets.items()}
    }


def table(lines: Sequence[Line], sizes: Sequence[str]) -> Iterator[str]:
    """A Markdown table: a mixture and a length a row, PSNR of the smallest and the largest size."""
    sets = (*TEST_SETS, "val")
    found = {(line["mixture"], line["steps"], line["size"]): line["psnr_db"] for line in lines}
    yield f"| data | steps | {' | '.join(f'{name}: ' + ' / '.join(sizes) for name in sets)} |"
    yield "|" + "---|" * (2 + len(sets))
    for mixture in MIXTURES:
        for steps in STEPS:
            readings = [found.get((mixture, steps, size)) for size in sizes]
            if not any(readings):
                continue
            cells = [
                " / ".join(f"{one[name]:.2f}" if one else "-" for one in readings) for name in sets
            ]
            yield f"| {mixture} | {steps:,} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("mixtures", nargs="*", default=list(MIXTURES), help=", ".join(MIXTURES))
    parser.add_argument(
        "--shared", type=Path, required=True, help="folder that holds data/Set5, ..."
    )
    parser.add_argument("--sizes", nargs="+", default=list(RUNGS), choices=RUNGS)
    parser.add_argument("--steps", nargs="+", type=int, default=list(STEPS), choices=STEPS)
    parser.add_argument(
        "--table", action="store_true", help="print the table of what is there, and train nothing"
    )
    parser.add_argument("--results", type=Path, default=RESULTS / "mixtures.jsonl")
    options = parser.parse_args()
    if unknown := set(options.mixtures) - set(MIXTURES):
        parser.error(f"{', '.join(sorted(unknown))} is no mixture; known: {', '.join(MIXTURES)}")
    torch.set_num_threads(1)
    judged = {} if options.table else open_judged(options.shared)
    lines = []
    for steps in sorted(options.steps):
        for mixture in options.mixtures:
            roles = open_mixture(mixture)
            for size in options.sizes:
                setting = {
                    "mixture": mixture,
                    "size": size,
                    "steps": steps,
                    "data": roles.fingerprints,
                }
                if not options.table and not read(options.results, setting):
                    line = setting | train(size, steps, roles, judged)
                    append(options.results, line)
                    print(line, flush=True)
                lines += read(options.results, setting)[:1]
    print("\n".join(table(lines, options.sizes)))


if __name__ == "__main__":
    main()
