"""How long it takes to build each published network from its spec, and to count its cost.

    python benchmarks/networks/building.py

A search screens thousands of candidates: SPAN takes less than 30 ms.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from nas.measure.cost import summed_cost
from search_spaces import ArchSpec, build, published
from search_spaces.published import names

NUM_TIMES = 15


def median_ms(do: Callable[[], object]) -> float:
    """The median of some runs after a first one."""
    do()
    taken = []
    for _ in range(NUM_TIMES):
        start = time.perf_counter()
        do()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    ).parse_args()
    torch.set_num_threads(1)
    print(f"{'network':12} {'build ms':>9} {'from JSON ms':>13} {'count again ms':>15}")
    for name in names():
        spec = published(name)
        text = spec.to_json()
        built = median_ms(lambda spec=spec: build(spec))  # type: ignore[misc]
        read = median_ms(lambda text=text: build(ArchSpec.from_json(text)))  # type: ignore[misc]
        counted = median_ms(lambda spec=spec: summed_cost(spec))  # type: ignore[misc]
        print(f"{name:12} {built:9.1f} {read:13.1f} {counted:15.2f}", flush=True)


if __name__ == "__main__":
    main()
