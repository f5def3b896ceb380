"""Search ESR-Bench-mini without training, with a sampler of one's own, and read the front."""

import tempfile
from pathlib import Path

from nas import Search
from nas.search.samplers.base import Suggestion

COLUMNS = ["number", "score", "psnr_gain_db", "runtime_ratio", "params"]
TABLE = {"evaluator": "table", "space": "esr_bench_mini", "challenge": "esr_bench_mini"}


class LargestFirst:
    """Suggests the candidate with the most parameters that was not tried yet."""

    picks_best = False

    def ask(self, observations, pending, *, seed):
        """Return the next suggestion, or None where every candidate was tried."""
        candidates = observations.candidates
        tried = observations.list_tried(pending)
        points = [point for point in candidates.list_points([]) if point not in tried]
        if not points:
            return None
        place = candidates.costs(points)["params"].argmax()
        return Suggestion(params=candidates.params(points[place]))


def main() -> None:
    """Print the fronts of two searches of 20 trials, the best score first."""
    with tempfile.TemporaryDirectory() as folder:
        for name, sampler in (("cost_aware", "cost_aware"), ("largest first", LargestFirst())):
            search = Search(
                **TABLE,
                proxy={"steps": 2000},
                trials=20,
                sampler=sampler,
                run=Path(folder) / name,
            )
            print(f"\n{name}\n{search.run().front[COLUMNS].to_string(index=False)}")


if __name__ == "__main__":
    main()
