"""The benchmarks are scripts beside each other: their tests import them as they import one another."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
