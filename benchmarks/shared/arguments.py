"""The command lines of the benchmarks: what several scripts are asked alike."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.shared.paths import RESULTS


def make_parser(about: str | None, *, results: str | None = None) -> argparse.ArgumentParser:
    """Return a parser whose help is a script's docstring, its lines as they are.

    Args:
        results: the name of the script's results file; None: it keeps no results.

    Example:
        >>> make_parser("About.", results="speed.jsonl").parse_args([]).results.name
        'speed.jsonl'
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if results is not None:
        parser.add_argument(
            "--results", type=Path, default=RESULTS / results, help="file that lines are added to"
        )
    return parser


def pick_names(
    parser: argparse.ArgumentParser, chosen: Sequence[str], known: Collection[str], what: str
) -> list[str]:
    """Return the chosen names, or all that are known where none was chosen.

    An unknown name ends the script with one line that lists the known ones, exit status 2.
    """
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        parser.error(f"{', '.join(unknown)} is no {what}; known: {', '.join(known)}")
    return list(chosen or known)
