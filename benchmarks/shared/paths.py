"""Where the checkout and the results of the benchmarks lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the repository
RESULTS = ROOT / "benchmarks" / "results"
