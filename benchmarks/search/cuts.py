"""Does a search whose journal ends after any of its records go on as if it had not?

    python benchmarks/search/cuts.py [--trials 7] [--samplers random gp] [--every 1]

A search of ESR-Bench-mini runs to its end with each sampler. Its journal is then cut after each of
its records, as a kill would leave it, and the search goes on until it has one trial more. Compared
are its rows, how often each was written, and its next proposal. The exit status is 1 where one
differs.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.search.disturbed import (
    SEARCH,
    Outcome,
    compare_rows,
    copy_run,
    finish_search,
    read_rows,
    run_session,
    sum_up,
    warm_up,
)
from benchmarks.shared.arguments import make_parser
from nas.search.store.run_folder.run_directory import DERIVED, JOURNAL

# Each with a start so short that most of the trials are its model's.
SAMPLERS = {
    "random": (),
    "nsga2": ("sampler.population=4",),
    "tpe": ("sampler.startup=3",),
    "evolution": ("sampler.population=3", "sampler.startup=3"),
    "gp": ("sampler.startup=3",),
    "cost_aware": ("sampler.startup=3",),
}


def cut_everywhere(folder: Path, sampler: str, trials: int, every: int) -> list[Outcome]:
    """Cut a search after each `every`th record, go on with it, and compare it."""
    overrides = [f"sampler={sampler}", *SAMPLERS[sampler]]
    whole = folder / "whole"
    session = run_session(whole, [*SEARCH, *overrides, f"trials={trials}"])
    assert session.status == 0, session.printed
    finished = copy_run(whole, folder / "finished")
    assert finish_search(whole, trials, overrides)
    rows = read_rows(whole)

    # A kill leaves no table of rows that its journal does not hold.
    for name in DERIVED:
        (finished / name).unlink()
    outcomes = []
    lines = (finished / JOURNAL).read_bytes().splitlines(keepends=True)
    for count in range(0, len(lines) + 1, every):
        run = copy_run(finished, folder / "cut")
        (run / JOURNAL).write_bytes(b"".join(lines[:count]))
        clean = finish_search(run, trials, overrides)
        outcomes.append(compare_rows(run, rows, clean=clean))
        if not outcomes[-1].is_well:
            print(f"{sampler}, cut after {count} records: {outcomes[-1]}", flush=True)
    return outcomes


def main() -> None:
    """Cut the journal of each sampler; the exit status is 1 where a search came out otherwise."""
    parser = make_parser(__doc__)
    parser.add_argument("--trials", type=int, default=7, help="of each search")
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS))
    parser.add_argument("--every", type=int, default=1, help="cut after each so many records")
    options = parser.parse_args()

    warm_up()
    well = True
    for sampler in options.samplers:
        with tempfile.TemporaryDirectory() as name:
            outcomes = cut_everywhere(Path(name), sampler, options.trials, options.every)
        well = well and all(outcome.is_well for outcome in outcomes)
        print(f"{sampler}: cut at {len(outcomes)} places, {sum_up(outcomes)}", flush=True)
    sys.exit(not well)


if __name__ == "__main__":
    main()
