"""How many files one suggestion of cost_aware goes through, and whether it climbs back to the study.

    python benchmarks/search/ask_trace.py

A search over ESR-Bench-mini's space with made-up results is brought to 12 trials; the next
`sampler.ask` is traced. Every file of this project that it enters is listed, in the order of entry.
Demanded: at most 10 files, none of them of the study.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.search.overhead import climb, open_search, stub_record
from benchmarks.shared.paths import ROOT

NUM_TRIALS = 12
MAX_FILES = 10


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    ).parse_args()
    entered: dict[str, None] = {}

    def note_file(frame: FrameType, event: str, argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT) and ".venv" not in path.parts:
            entered[str(path.relative_to(ROOT))] = None

    with tempfile.TemporaryDirectory() as folder:
        asker = open_search(Path(folder), "cost_aware", "span")
        climb(asker.study)
        for _ in range(NUM_TRIALS):
            trial = asker.ask()
            asker.study.tell(trial, stub_record(trial.number, trial.spec))

        # Everything that the sampler is given is made before the trace begins.
        observations = asker.observer.observe(asker.study)
        sys.setprofile(note_file)
        suggestion = asker.sampler.ask(observations, [], seed=1)
        sys.setprofile(None)

    assert suggestion is not None
    assert suggestion.predicted is not None, "nothing was modelled yet"
    files = [file for file in entered if not file.startswith("benchmarks/")]
    print("\n".join(files))
    climbs = [file for file in files if "/store/" in file or file.endswith("asking.py")]
    verdict = "yes" if len(files) <= MAX_FILES and not climbs else "no"
    print(f"{len(files)} files (at most {MAX_FILES}), {len(climbs)} of the study: {verdict}")


if __name__ == "__main__":
    main()
