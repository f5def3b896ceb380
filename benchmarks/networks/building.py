"""How long does it take to build a network from its spec, and to count its cost?

    python benchmarks/networks/building.py

A line holds milliseconds of each published network: built, read from JSON and built, and its cost
counted again. A search screens thousands of candidates: SPAN has to take less than 30 ms.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.shared.arguments import make_parser
from nas.measure.cost import summed_cost
from search_spaces import ArchSpec, build, published
from search_spaces.network import Network
from search_spaces.published import names

NUM_TIMES = 15  # of each call; the median is printed


def time_median_ms(do: Callable[[], object]) -> float:
    """Return the median milliseconds of some runs after a first one, which fills caches."""
    do()
    times_ms = []
    for _ in range(NUM_TIMES):
        start = time.perf_counter()
        do()
        times_ms.append(1000 * (time.perf_counter() - start))
    return statistics.median(times_ms)


def main() -> None:
    make_parser(__doc__).parse_args()
    # One thread, as each worker of a search has.
    torch.set_num_threads(1)
    print(f"{'network':12} {'build ms':>9} {'from JSON ms':>13} {'count again ms':>15}")
    for name in names():
        spec = published(name)
        text = spec.to_json()
        # Built as a search does it, as a stored record is, and counted with its parts' costs kept.
        calls = (partial(build, spec), partial(_build_from_json, text), partial(summed_cost, spec))
        build_ms, read_ms, count_ms = map(time_median_ms, calls)
        print(f"{name:12} {build_ms:9.1f} {read_ms:13.1f} {count_ms:15.2f}", flush=True)


def _build_from_json(text: str) -> Network:
    return build(ArchSpec.from_json(text))


if __name__ == "__main__":
    main()
