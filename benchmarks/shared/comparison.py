"""Comparing methods over seeds: what a results file lacks is run, and its counts are put into words."""

import argparse
import multiprocessing
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared.lines import Line, append, read
from benchmarks.shared.paths import RESULTS
from nas.system.cores import num_cores

DRAWS = 2000


def parser(
    about: str | None,
    methods: Sequence[str],
    results: str,
    only_named: Collection[str] = (),
    *,
    seeds: int = 10,
    one_at_a_time: bool = False,
) -> argparse.ArgumentParser:
    """What every comparison is asked: methods, seeds, workers and its results file.

    Args:
        only_named: methods that are left out where none is named.
        seeds: where nothing is said.
        one_at_a_time: nobody is asked for workers.
    """
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    known = ", ".join(methods)

    def method(name: str) -> str:
        if name not in methods:
            raise argparse.ArgumentTypeError(f"{name} is no method; known: {known}")
        return name

    default = [name for name in methods if name not in only_named]
    made.add_argument("methods", nargs="*", type=method, default=default, help=known)
    made.add_argument("--seeds", type=int, default=seeds)
    if not one_at_a_time:
        made.add_argument("--workers", type=int, default=num_cores())
    made.add_argument("--results", type=Path, default=RESULTS / results)
    return made


def run_missing(
    one: Callable[..., Line],
    options: argparse.Namespace,
    setting: Mapping[str, Any],
    show: Callable[[Line], None],
) -> list[Line]:
    """Run the methods and seeds that the results file lacks, a process each; gives all its lines.

    Args:
        one: method, seed and the setting -> a line of results, with all of them in it.
        options: of `parser`.
        show: called with each line once it is in the file.
    """
    done = {(line["method"], line["seed"]) for line in read(options.results, setting)}
    todo = [
        (one, method, seed, setting)
        for seed in range(options.seeds)
        for method in dict.fromkeys(options.methods)
        if (method, seed) not in done
    ]
    for line in _in_processes(todo, options.workers):
        append(options.results, line)
        show(line)
    return read(options.results, setting)


def _in_processes(todo: Sequence[tuple[Any, ...]], workers: int) -> Iterable[Line]:
    if not todo:
        return
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # read when a process imports numpy: too late for a worker to set
    )
    with multiprocessing.get_context("spawn").Pool(min(workers, len(todo))) as pool:
        yield from pool.imap_unordered(_call, todo)


def _call(job: tuple[Callable[..., Line], str, int, Mapping[str, Any]]) -> Line:
    one, method, seed, setting = job
    return one(method=method, seed=seed, **setting)


def quartiles(values: np.ndarray, digits: int = 0) -> str:
    """Median and quartiles as values that occurred; "-" for what was not reached (infinite)."""
    low, middle, high = (
        f"{value:.{digits}f}" if np.isfinite(value) else "-"
        for value in (np.quantile(values, share, method="nearest") for share in (0.25, 0.5, 0.75))
    )
    return f"{middle} ({low} to {high})"


def ratio(theirs: np.ndarray, ours: np.ndarray) -> str:
    """The ratio of medians with its bootstrap 95 % interval over seeds."""
    rng = np.random.default_rng(0)
    one, other = (rng.choice(values, (DRAWS, len(values))) for values in (theirs, ours))
    low, high = np.percentile(np.median(one, axis=1) / np.median(other, axis=1), [2.5, 97.5])
    return f"{np.median(theirs) / np.median(ours):.2f} times ({low:.2f} to {high:.2f})"


def ratios(
    counts: Callable[[str], np.ndarray], stock: Iterable[str], ours: Iterable[str]
) -> Iterator[tuple[str, str, str]]:
    """The best stock method by its median, each of ours, and how many times ours the best takes.

    Args:
        counts: of a method, by seed; infinite where it did not arrive. Ours that mostly did not are left out.
    """
    stocks = {method: values for method in stock if len(values := counts(method))}
    if not stocks:
        return
    best = min(stocks, key=lambda method: float(np.median(stocks[method])))
    for method in ours:
        mine = counts(method)
        if len(mine) and np.isfinite(np.median(mine)):
            yield best, method, ratio(stocks[best], mine)
