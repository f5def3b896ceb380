"""Seeds for everything random in a run."""

import random


def derived_seed(run_seed: int, *path: int | str) -> int:
    """A 31-bit seed for one purpose, a pure function of the run's seed and the path."""
    return random.Random(f"{run_seed}/{'/'.join(map(str, path))}").getrandbits(31)
