"""Whether a brief training ranks families of blocks as a long one does.

    python benchmarks/proxy/families.py --train ../shared/data/BSDS200 --val ../shared/data/Set14 [NETWORK]

The networks are the ladder and, of each kind of block in space=esr, the member of its frame `residual` that
holds this kind alone and is nearest to a quarter of SPAN's FLOPs. All are trained briefly (`proxy=brief`,
800 steps) and three times as long, as a search would. Lines are appended to the results file as they come;
what is there, under the same settings, is not trained again.

The table holds both PSNRs and ranks; below it is Kendall's tau-b of the brief trainings with the long ones,
with its 95 % interval, over all networks that were trained both ways and over the families among them.
"""

import argparse
import functools
import math
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.proxy.proxy import FAILED, TRAINING, evaluated
from benchmarks.shared.lines import Line, append, read
from benchmarks.shared.paths import RESULTS
from nas.analysis.ladder import RUNGS, rung_spec
from nas.analysis.trust import agreement
from nas.commands.search import compose_search
from nas.measure.cost import summed_cost
from nas.search.engines.base import Task
from nas.system.cores import num_cores
from search_spaces.chooser import ReplayChooser, Space, decisions
from search_spaces.published import published
from search_spaces.spec import ArchSpec

FRAME = "residual"
PROXIES = {
    "brief": ["proxy=brief"],
    "long": ["proxy=brief", "proxy.steps=2400"],
}  # overrides of a search


def families(space: Space, cost: str, target: float) -> dict[str, ArchSpec]:
    """Of each kind of block, the member that holds it alone and is nearest to a target in flops or params."""
    options = decisions(space)
    first = {name: choices[0] for name, choices in options.items()} | {"frame": FRAME}
    places = [name for name in options if name.startswith("block") and name[5:].isdigit()]
    found = {}
    for kind in options["block1"]:  # what may stand first
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
        stands = space.blocks[kind]["kind"]  # type: ignore[attr-defined]
        alone = [spec for spec in members if {block.kind for block in spec.blocks} == {stands}]
        found[str(kind)] = min(
            alone, key=lambda spec: abs(math.log(summed_cost(spec)[cost] / target))
        )
    return found


@functools.cache
def networks() -> dict[str, ArchSpec]:
    """The ladder and the families."""
    flops = summed_cost(published("span"))["flops"] / 4
    return {rung: rung_spec(rung, 4) for rung in RUNGS} | families(
        compose_search("space=esr").space, "flops", flops
    )


def train(
    folders: Mapping[str, str], results: Path, workers: int, chosen: Collection[str]
) -> dict[str, list[Line]]:
    """The trainings of each proxy; what the results file lacks of those chosen is run, the dearest first."""
    specs = networks()
    found = {}
    for name, overrides in PROXIES.items():
        config = compose_search(
            "data=folder", *(f"data.{role}={path}" for role, path in folders.items()), *overrides
        )
        setting = {role: Path(path).name for role, path in folders.items()} | {
            "proxy": asdict(config.training.proxy)
        }
        done = {line["arch_id"] for line in read(results, setting)}
        tasks = [
            Task(key=network, method="train", args=(specs[network], 0, None))
            for network in sorted(chosen, key=lambda network: -summed_cost(specs[network])["flops"])
            if specs[network].arch_id not in done
        ]
        for result in evaluated(config, "", tasks, workers):
            network = result.task.key
            quality = asdict(result.value or FAILED)
            line = {"network": network, "arch_id": specs[network].arch_id, "seed": 0}
            line |= {key: quality[key] for key in TRAINING}
            append(results, setting | line)
            print(name, line, flush=True)
        found[name] = read(results, setting)
    return found


def table(found: Mapping[str, list[Line]]) -> Iterator[str]:
    """A Markdown table, the best long training first, and the rank agreement."""
    by_id = {name: {line["arch_id"]: line for line in lines} for name, lines in found.items()}
    specs = {
        name: spec
        for name, spec in networks().items()
        if all(spec.arch_id in runs for runs in by_id.values())
    }
    psnr_db = {
        name: {network: runs[spec.arch_id]["psnr_db"] for network, spec in specs.items()}
        for name, runs in by_id.items()
    }
    orders = {
        name: sorted(values, key=lambda network: -values[network])
        for name, values in psnr_db.items()
    }
    yield "| network | GFLOPs | parameters | brief dB | rank | long dB | rank | s, brief |"
    yield "|---|---|---|---|---|---|---|---|"
    for rank, network in enumerate(orders["long"], start=1):
        spec = specs[network]
        cost = summed_cost(spec)
        yield (
            f"| {network} | {cost['flops'] / 1e9:.2f} | {cost['params']:,} | {psnr_db['brief'][network]:.3f} "
            f"| {orders['brief'].index(network) + 1} | {psnr_db['long'][network]:.3f} | {rank} "
            f"| {by_id['brief'][spec.arch_id]['train_seconds']:.0f} |"
        )
    for what, chosen in (
        ("all", specs),
        ("families", [name for name in specs if name not in RUNGS]),
    ):
        pairs = [(psnr_db["brief"][name], psnr_db["long"][name]) for name in chosen]
        tau = agreement(pairs, lower=0, upper=1)
        words = "-" if tau.tau is None else f"{tau.tau:.2f} ({tau.low:.2f} to {tau.high:.2f})"
        yield f"{what}: tau {words} over {tau.num_networks} networks"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=list(networks()), help=", ".join(networks()))
    parser.add_argument("--train", required=True, help="folder of training photographs")
    parser.add_argument("--val", required=True, help="folder of validation photographs")
    parser.add_argument("--workers", type=int, default=num_cores())
    parser.add_argument("--results", type=Path, default=RESULTS / "families.jsonl")
    options = parser.parse_args()
    if unknown := set(options.networks) - set(networks()):
        parser.error(f"{', '.join(sorted(unknown))} is no network; known: {', '.join(networks())}")
    folders = {"train": options.train, "val": options.val}
    found = train(folders, options.results, options.workers, options.networks)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
