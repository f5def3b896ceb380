"""Do the built-in images last, and does the ladder keep its order when trained longer?

    python benchmarks/proxy/longer_ladder.py [PRESET ...] [--workers 2]

Every search asks this of its data: the ladder's sizes are trained four times as long as the proxy,
read on their way, and kept in the user's cache. For data=builtin and some presets of proxy= the
answers ship with the package. This makes them: a line a training is appended to
nas/search/longer/shipped.jsonl as it comes; what stands there for today's images and proxy is not
trained again, and what stands there for others is dropped.

The table holds, for each preset, the PSNR on val at each reading, in dB.
"""

import argparse
import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.shared.arguments import pick_names
from benchmarks.shared.tables import format_head, format_row
from nas.analysis.ladder import RUNGS, LadderRun
from nas.analysis.lasting import FACTOR
from nas.commands.search import compose_search
from nas.data.roles import Roles, open_roles
from nas.search.backends.training import gather_settings
from nas.search.config import SearchConfig
from nas.search.engines.base import Placement, Task
from nas.search.engines.local import LocalEngine
from nas.search.engines.tasks import run_tasks, started
from nas.search.evaluation.evaluator import ProxyEvaluator
from nas.search.longer.kept import SHIPPED, KeptLadder, make_key, read_shipped, write_run
from nas.system.files.owned_folder import OwnedFolder
from search_spaces.published import published

PRESETS = ("quick", "brief")  # longer ones take hours: their readings are made by who uses them
DEVICE = torch.device("cpu")


def open_ladder(preset: str) -> tuple[SearchConfig, Roles, KeptLadder]:
    """Return the default search with a preset, its images, and what is known of its ladder."""
    config = compose_search("data=builtin", f"proxy={preset}")
    proxy = config.training.proxy
    roles = open_roles(
        config.training.data,
        scale=4,
        challenge=config.goals.challenge.name,
        patch=proxy.patch,
        batch_size=proxy.batch_size,
        progress=False,
    )
    key = make_key(
        fingerprints=roles.fingerprints, proxy=proxy, parent=None, scale=4, device_type=DEVICE.type
    )
    return config, roles, KeptLadder(key=key, steps=FACTOR * proxy.steps)


def list_shipped(ladder: KeptLadder) -> dict[str, LadderRun]:
    """Return the trainings of a ladder that ship, by size."""
    keys = {size: {**ladder.key, "size": size} for size in RUNGS}
    return {
        size: kept.run for size, key in keys.items() for kept in read_shipped() if kept.key == key
    }


def train_missing(preset: str, workers: int) -> None:
    """Train the sizes of a preset's ladder that do not ship yet, the largest first."""
    config, roles, ladder = open_ladder(preset)
    done = list_shipped(ladder)
    tasks = [
        Task(key=size, method="longer_run", args=(size,))
        for size in reversed(RUNGS)
        if size not in done
    ]
    if not tasks:
        return

    placement = Placement(num_workers=workers, num_per_host=workers)
    with OwnedFolder() as run:
        settings = gather_settings(
            config.training,
            config.reading,
            None,
            roles,
            run=run,
            placement=placement,
            device=DEVICE,
            seed=0,
            baseline=published("span"),
        )
        assert settings.shared
        make = functools.partial(ProxyEvaluator, settings)
        with settings.shared, started(LocalEngine(), make, placement) as engine:
            for result in run_tasks(engine, tasks):
                if result.error:
                    raise SystemExit(f"{preset} {result.task.key}: {result.error}")
                key = {**ladder.key, "size": result.task.key}
                with SHIPPED.open("a", encoding="ascii") as file:
                    file.write(write_run(key, result.value) + "\n")
                print(preset, result.value, flush=True)


def drop_others() -> None:
    """Drop the trainings of other images and proxies than today's from the file."""
    keys = [{**open_ladder(preset)[2].key, "size": size} for preset in PRESETS for size in RUNGS]
    lines = [write_run(kept.key, kept.run) for kept in read_shipped() if dict(kept.key) in keys]
    SHIPPED.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def format_table(presets: Sequence[str]) -> Iterator[str]:
    """Yield a Markdown table: a preset and a size a row, the PSNR at each reading."""
    yield from format_head(["proxy", "size", "PSNR dB at steps", "seconds"])
    for preset in presets:
        for size, run in list_shipped(open_ladder(preset)[2]).items():
            readings = ", ".join(f"{steps:,}: {psnr_db:.3f}" for steps, psnr_db in run.curve)
            yield format_row([preset, size, readings, f"{run.train_seconds:.0f}"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("presets", nargs="*", help=f"of proxy=; by default {', '.join(PRESETS)}")
    parser.add_argument("--workers", type=int, default=2, help="processes that train")
    options = parser.parse_args()
    presets = pick_names(parser, options.presets, dict.fromkeys(PRESETS), "preset")

    drop_others()
    for preset in presets:
        train_missing(preset, options.workers)
    print("\n".join(format_table(presets)))


if __name__ == "__main__":
    main()
