"""Methods compared over seeds: what a results file lacks is run, and counts are put into words."""

import argparse
import multiprocessing
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.shared.arguments import make_parser
from benchmarks.shared.lines import Line, append_line, read_lines
from nas.system.cores import num_cores

NUM_DRAWS = 2000  # of the bootstrap


def make_comparison_parser(
    about: str | None,
    methods: Sequence[str],
    results: str,
    only_named: Collection[str] = (),
    *,
    seeds: int = 10,
    one_at_a_time: bool = False,
) -> argparse.ArgumentParser:
    """Return a parser that asks for methods, seeds, workers and the results file.

    Args:
        about: the script's docstring.
        results: the name of the script's results file.
        only_named: methods that are left out where none is named.
        seeds: how many, by default.
        one_at_a_time: searches take turns, so nobody is asked for workers.
    """
    parser = make_parser(about, results=results)
    known = ", ".join(methods)

    def check_method(name: str) -> str:
        if name not in methods:
            raise argparse.ArgumentTypeError(f"{name} is no method; known: {known}")
        return name

    default = [name for name in methods if name not in only_named]
    parser.add_argument("methods", nargs="*", type=check_method, default=default, help=known)
    parser.add_argument("--seeds", type=int, default=seeds, help="searches of each method")
    if not one_at_a_time:
        parser.add_argument("--workers", type=int, default=num_cores(), help="processes")
    return parser


def run_missing(
    run_search: Callable[..., Line],
    options: argparse.Namespace,
    setting: Mapping[str, Any],
    show: Callable[[Line], None],
) -> list[Line]:
    """Run the methods and seeds that the results file lacks, a process each; return all its lines.

    Args:
        run_search: method, seed and the setting -> a line of results, with all of them in it.
        options: of `make_comparison_parser`.
        setting: what all lines agree on.
        show: called with each line once it is in the file.
    """
    # What stands in the file under this setting is not run again.
    done = {(line["method"], line["seed"]) for line in read_lines(options.results, setting)}
    todo = [
        (run_search, method, seed, setting)
        for seed in range(options.seeds)
        for method in dict.fromkeys(options.methods)
        if (method, seed) not in done
    ]
    for line in _run_in_processes(todo, options.workers):
        append_line(options.results, line)
        show(line)
    return read_lines(options.results, setting)


def _run_in_processes(todo: Sequence[tuple[Any, ...]], workers: int) -> Iterable[Line]:
    """Yield the lines of jobs as they come, each process on one thread."""
    if not todo:
        return
    # Read when a process imports numpy: too late for a worker to set.
    os.environ["OMP_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(min(workers, len(todo))) as pool:
        yield from pool.imap_unordered(_call_job, todo)


def _call_job(job: tuple[Callable[..., Line], str, int, Mapping[str, Any]]) -> Line:
    run_search, method, seed, setting = job
    return run_search(method=method, seed=seed, **setting)


def format_quartiles(values: np.ndarray, digits: int = 0) -> str:
    """Return median and quartiles as values that occurred; "-" for what was not reached.

    Args:
        values: infinite where it was not reached.

    Example:
        >>> format_quartiles(np.array([1.0, 2.0, 3.0, np.inf, np.inf]))
        '3 (2 to -)'
    """
    low, middle, high = (
        f"{value:.{digits}f}" if np.isfinite(value) else "-"
        for value in (np.quantile(values, share, method="nearest") for share in (0.25, 0.5, 0.75))
    )
    return f"{middle} ({low} to {high})"


def format_ratio(theirs: np.ndarray, ours: np.ndarray) -> str:
    """Return the ratio of medians with its bootstrap 95 % interval over seeds, in words."""
    # Seeds are drawn with replacement, of each method for itself.
    rng = np.random.default_rng(0)
    their_draws, our_draws = (
        rng.choice(values, (NUM_DRAWS, len(values))) for values in (theirs, ours)
    )
    ratios = np.median(their_draws, axis=1) / np.median(our_draws, axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return f"{np.median(theirs) / np.median(ours):.2f} times ({low:.2f} to {high:.2f})"


def compare_with_stock(
    counts: Callable[[str], np.ndarray], stock: Iterable[str], ours: Iterable[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield the best stock method by its median, each of ours, and how many times ours it takes.

    Ours that mostly did not arrive are left out.

    Args:
        counts: of a method, by seed; infinite where it did not arrive.
    """
    by_method = {method: counts(method) for method in stock}
    stocks = {method: values for method, values in by_method.items() if len(values)}
    if not stocks:
        return
    best = min(stocks, key=lambda method: float(np.median(stocks[method])))
    for method in ours:
        mine = counts(method)
        if len(mine) and np.isfinite(np.median(mine)):
            yield best, method, format_ratio(stocks[best], mine)
