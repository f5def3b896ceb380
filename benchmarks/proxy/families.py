"""Does a brief training rank families of blocks as a long one does?

    python benchmarks/proxy/families.py --train ../shared/data/BSDS200 --val ../shared/data/Set14

The networks are the ladder and, of each kind of block in space=esr, the member of its frame
`residual` that holds this kind alone and is nearest to a quarter of SPAN's FLOPs. All are trained
briefly (`proxy=brief`, 800 steps) and three times as long, as a search would. Lines are appended to
the results file as they come; what is there, under the same settings, is not trained again.

The table holds both PSNRs and ranks; below it is Kendall's tau-b of the brief trainings with the
long ones, with its 95 % interval, over all networks that were trained both ways and over the
families.
"""

import argparse
import functools
import math
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.proxy.study import format_agreement, pick_quality, train_tasks
from benchmarks.shared.arguments import make_parser, pick_names
from benchmarks.shared.lines import Line, append_line, read_lines
from benchmarks.shared.tables import format_head, format_row
from nas.analysis.ladder import RUNGS, rung_spec
from nas.analysis.trust import agreement
from nas.commands.search import compose_search
from nas.measure.cost import summed_cost
from nas.search.engines.base import Task
from nas.system.cores import num_cores
from search_spaces.chooser import ReplayChooser, Space, decisions
from search_spaces.published import published
from search_spaces.spec import ArchSpec

FRAME = "residual"  # of space=esr: blocks in a row under one skip
PROXIES = {"brief": ["proxy=brief"], "long": ["proxy=brief", "proxy.steps=2400"]}  # overrides
TITLES = ("network", "GFLOPs", "parameters", "brief dB", "rank", "long dB", "rank", "s, brief")


@functools.cache
def open_space() -> Space:
    """Return space=esr, as a search does."""
    space: Space = compose_search("space=esr").space
    return space


def list_families() -> list[str]:
    """Return the kinds of blocks that may stand first in a network of space=esr."""
    return [str(kind) for kind in decisions(open_space())["block1"]]


def pick_families(space: Space, cost: str, target: float) -> dict[str, ArchSpec]:
    """Return, of each kind of block, the member that holds it alone and is nearest to a target.

    Args:
        cost: `flops` or `params`; nearness is that of logarithms.
    """
    options = decisions(space)
    first = {name: choices[0] for name, choices in options.items()} | {"frame": FRAME}
    places = [name for name in options if name.startswith("block") and name[5:].isdigit()]

    families = {}
    for kind in options["block1"]:
        # All depths and widths of networks with this kind in every place.
        members = [
            space.sample(
                ReplayChooser(
                    first
                    | dict.fromkeys(places, kind)
                    | {"num_blocks": count, "channels": channels}
                )
            )
            for count in options["num_blocks"]
            for channels in options["channels"]
        ]

        # Where a kind cannot stand in some place, the space puts another there: not a member.
        block_kind = space.blocks[kind]["kind"]  # type: ignore[attr-defined]
        pure = [spec for spec in members if {block.kind for block in spec.blocks} == {block_kind}]
        families[str(kind)] = min(
            pure, key=lambda spec: abs(math.log(summed_cost(spec)[cost] / target))
        )
    return families


@functools.cache
def list_networks() -> dict[str, ArchSpec]:
    """Return the ladder, then the families at a quarter of SPAN's FLOPs."""
    flops = summed_cost(published("span"))["flops"] / 4
    ladder = {rung: rung_spec(rung, 4) for rung in RUNGS}
    return ladder | pick_families(open_space(), "flops", flops)


def train_missing(
    folders: Mapping[str, str], results: Path, workers: int, chosen: Collection[str]
) -> dict[str, list[Line]]:
    """Train what the results file lacks of the chosen networks, the dearest first.

    Returns:
        By proxy, all lines of the results file.
    """
    specs = list_networks()
    # The dearest first, so that no worker is left with it at the end.
    by_cost = sorted(chosen, key=lambda network: -summed_cost(specs[network])["flops"])
    lines = {}
    for name, overrides in PROXIES.items():
        data = ["data=folder", *(f"data.{role}={path}" for role, path in folders.items())]
        config = compose_search(*data, *overrides)
        setting: dict[str, Any] = {role: Path(path).name for role, path in folders.items()}
        setting["proxy"] = asdict(config.training.proxy)

        done = {line["arch_id"] for line in read_lines(results, setting)}
        tasks = [
            Task(key=network, method="train", args=(specs[network], 0, None))
            for network in by_cost
            if specs[network].arch_id not in done
        ]
        for result in train_tasks(config, "", tasks, workers):
            network = result.task.key
            line = {"network": network, "arch_id": specs[network].arch_id, "seed": 0}
            line |= pick_quality(result)
            append_line(results, setting | line)
            print(name, line, flush=True)
        lines[name] = read_lines(results, setting)
    return lines


def format_table(lines: Mapping[str, list[Line]]) -> Iterator[str]:
    """Yield a Markdown table, the best long training first, then the rank agreements.

    Args:
        lines: by proxy.
    """
    # Only networks that were trained both ways have a row.
    by_id = {name: {line["arch_id"]: line for line in lines[name]} for name in PROXIES}
    specs = {
        network: spec
        for network, spec in list_networks().items()
        if all(spec.arch_id in runs for runs in by_id.values())
    }
    brief, long = (
        {network: by_id[name][spec.arch_id]["psnr_db"] for network, spec in specs.items()}
        for name in PROXIES
    )

    yield from format_head(TITLES)
    brief_order = sorted(specs, key=lambda network: -brief[network])
    for rank, network in enumerate(sorted(specs, key=lambda network: -long[network]), start=1):
        cost = summed_cost(specs[network])
        seconds = by_id["brief"][specs[network].arch_id]["train_seconds"]
        cells = [network, f"{cost['flops'] / 1e9:.2f}", f"{cost['params']:,}"]
        cells += [f"{brief[network]:.3f}", str(brief_order.index(network) + 1)]
        yield format_row([*cells, f"{long[network]:.3f}", rank, f"{seconds:.0f}"])

    families = [network for network in specs if network not in RUNGS]
    for what, networks in (("all", list(specs)), ("families", families)):
        pairs = [(brief[network], long[network]) for network in networks]
        rank_agreement = agreement(pairs, lower=0, upper=1)
        tau = format_agreement(rank_agreement)
        yield f"{what}: tau {tau} over {rank_agreement.num_networks} networks"


def main() -> None:
    options = _parse_arguments()
    folders = {"train": options.train, "val": options.val}
    lines = train_missing(folders, options.results, options.workers, options.networks)
    print("\n".join(format_table(lines)))


def _parse_arguments() -> argparse.Namespace:
    names = [*RUNGS, *list_families()]
    parser = make_parser(__doc__, results="families.jsonl")
    parser.add_argument("networks", nargs="*", help=f"by default all: {', '.join(names)}")
    parser.add_argument("--train", required=True, help="folder of training photographs")
    parser.add_argument("--val", required=True, help="folder of validation photographs")
    parser.add_argument("--workers", type=int, default=num_cores())

    options = parser.parse_args()
    options.networks = pick_names(parser, options.networks, names, "network")
    return options


if __name__ == "__main__":
    main()
