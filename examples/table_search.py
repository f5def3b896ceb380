"""Search ESR-Bench-mini without training, and read the front."""

import tempfile
from pathlib import Path

import pandas as pd

from nas.cli.door import main as nas

SEARCH = "search evaluator=table space=esr_bench_mini challenge=esr_bench_mini proxy.steps=2000 trials=20"


def main() -> None:
    """Print the front of a search of 20 trials, the best score first."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        status = nas([*SEARCH.split(), f"run={run}", "workers=1"])
        if status != 0:
            raise SystemExit(status)

        front = pd.read_csv(run / "front.csv")
    print(
        front[["number", "score", "psnr_gain_db", "runtime_ratio", "params"]].to_string(index=False)
    )


if __name__ == "__main__":
    main()
