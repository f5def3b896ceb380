"""Rank a table of networks by a challenge's score and in its sub-tracks.

The table is a CSV file with a header and, in any order:
    psnr_valid_db, psnr_test_db    or psnr_db alone, held against the validation gate
    runtime_ms                     or runtime_valid_ms and runtime_test_ms, whose mean counts
    params or params_m             of the inference form; _m in millions
    flops or flops_g               multiply-accumulates at 1x3x256x256; _g in billions
Other columns are kept. The row that equals the challenge's baseline is shown, not ranked.

Examples:
    nas rank table=results.csv
    nas rank table=results.csv out=ranked.csv
    nas rank table=results.csv challenge=ntire2025
    nas rank table=mine.csv challenge.baseline.runtime_ms=21.5 challenge.gate.tolerance_db=0
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table

from nas.cli.message import part
from nas.commands.csv_files import Row, number_hint, read_csv
from nas.score import Challenge, Components, ranks
from nas.system.console import open_console, print_lines
from nas.system.files.drafts import check_target, replaced

WRITTEN = (
    "score",
    "score_runtime",
    "score_params",
    "score_flops",
    "rank",
    "rank_runtime",
    "rank_params",
    "rank_flops",
)
TRACKS = ("rank", "rank_runtime", "rank_params", "rank_flops")
PSNR_COLUMNS: list[str] = ["psnr_valid_db", "psnr_test_db", "psnr_db"]
UNITS = {"params_m": 1e6, "flops_g": 1e9}
NAME_COLUMNS = ("team", "method", "name")  # those that are shown of a table that has them
WIDE = 112  # columns of a terminal that has room for more than one name


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the table, read and scored.

    Attributes:
        row: its cells as they stand in the file.
        psnr: dB, by column.
        status: why it is not ranked: it is the baseline ("base"), or below the PSNR gate ("gate").
    """

    row: Row
    psnr: dict[str, float]
    runtime_ms: float
    params: float
    flops: float
    score: float
    components: Components
    status: Literal["", "base", "gate"]


def run(*, table: str, out: str | None, challenge: Challenge) -> None:
    """Print the ranked table and, with `out`, write it."""
    # All rows are read before anything is written: a wrong cell leaves no file behind.
    header, rows = read(table)
    rows, num_left_out = _keep_complete(rows)
    entries = [_score_row(row, f"table={table}, line {line}", challenge) for line, row in rows]
    ranked = rank(entries)

    # The file comes before the screen: a pipe that closes early does not cost it.
    if out is not None:
        write(out, header, ranked)

    lines = protocol(challenge, list(ranked[0][0].psnr))
    if num_left_out:
        lines.append(f"{num_left_out} rows are left out: their state is not complete")
    lines += [f"written: {out}"] if out is not None else []
    _print_ranking(ranked, challenge, lines)


def read(table: str) -> tuple[list[str], list[tuple[int, Row]]]:
    """Return the columns of a CSV file and its rows by line number.

    Columns that ranking writes are left out: their values come from an earlier ranking.

    Raises:
        ValueError: the file is no table of networks.
    """
    header, lines = read_csv(Path(table), f"table={table}")
    _check_columns(table, header)
    # Columns of an earlier ranking would stand beside the new ones.
    kept = [name for name in header if name not in WRITTEN]
    return kept, [(line, {name: row[name] for name in kept}) for line, row in lines]


def _keep_complete(rows: list[tuple[int, Row]]) -> tuple[list[tuple[int, Row]], int]:
    """Leave out a run's trials that came to no result; return the others, and how many they are."""
    kept = [(line, row) for line, row in rows if row.get("state", "complete") == "complete"]
    if not kept:
        raise ValueError(f"table: none of its {len(rows)} rows has the state complete")
    return kept, len(rows) - len(kept)


def rank(entries: list[Entry]) -> list[tuple[Entry, Row]]:
    """Return each entry with the columns that ranking writes, best first, unranked last."""
    # Entries are told apart by identity: two rows of a file may be equal.
    places = {}
    running = [entry for entry in entries if not entry.status]
    costs = ("score", "runtime_ms", "params", "flops")
    for track, cost in zip(TRACKS, costs, strict=True):
        values = [getattr(entry, cost) for entry in running]
        for entry, place in zip(running, ranks(values), strict=True):
            places[id(entry), track] = str(place)

    # repr writes floats so that they read back equal.
    ranked = []
    for entry in sorted(entries, key=lambda entry: (bool(entry.status), entry.score)):
        columns = {
            "score": repr(entry.score),
            "score_runtime": repr(entry.components.runtime),
            "score_params": repr(entry.components.params),
            "score_flops": repr(entry.components.flops),
            **{track: places.get((id(entry), track), "") for track in TRACKS},
        }
        ranked.append((entry, columns))

    return ranked


def write(out: str, header: list[str], ranked: list[tuple[Entry, Row]]) -> None:
    """Write the ranked table, whole or not at all."""
    check_target("out", out, "CSV file")
    target = Path(out)
    with replaced(target) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [*header, *WRITTEN], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**entry.row, **columns} for entry, columns in ranked)


def _check_columns(table: str, header: list[str]) -> None:
    """Check that a table has the columns that a score needs, in one of their forms.

    Raises:
        ValueError: it lacks some; the message lists the forms.
    """
    # Alternatives for each quantity, each a set of columns that do together.
    needed = {
        "PSNR": tuple((name,) for name in PSNR_COLUMNS),
        "runtime": (("runtime_ms",), ("runtime_valid_ms", "runtime_test_ms")),
        "parameters": (("params_m",), ("params",)),
        "FLOPs": (("flops_g",), ("flops",)),
    }
    for what, ways in needed.items():
        if any(set(way) <= set(header) for way in ways):
            continue
        # Names that differ in case alone are the likeliest slip.
        names = " or ".join(" and ".join(way) for way in ways)
        lower = {name.lower() for name in header}
        case = "; names are in small letters" if any(set(way) <= lower for way in ways) else ""
        raise ValueError(
            f"table={table}: no column for {what}: needs {names}; "
            f"found {part(', '.join(header))}{case}"
        )


def _score_row(row: Row, place: str, challenge: Challenge) -> Entry:
    """Read the numbers of a row and score them.

    Args:
        place: file and line, for messages.
    Raises:
        ValueError: a cell is no number above 0.
    """
    baseline = challenge.baseline
    # Which PSNR columns a table has says which gates are applied.
    psnr_columns = [column for column in PSNR_COLUMNS if column in row]
    psnr = {column: _read_number(row, column, place) for column in psnr_columns}
    runtime_ms = _read_runtime(row, place)
    params = _read_count(row, "params_m", place)
    flops = _read_count(row, "flops_g", place)

    # A row with a single PSNR is held against the validation gate.
    ratios = (runtime_ms / baseline.runtime_ms, flops / baseline.flops, params / baseline.params)
    passes = challenge.gate.passes(
        valid_db=psnr.get("psnr_valid_db", psnr.get("psnr_db")), test_db=psnr.get("psnr_test_db")
    )

    # By its figures: tables call the baseline by many names.
    is_baseline = all(math.isclose(ratio, 1, rel_tol=1e-9) for ratio in ratios)
    return Entry(
        row=row,
        psnr=psnr,
        runtime_ms=runtime_ms,
        params=params,
        flops=flops,
        score=challenge.score(*ratios),
        components=challenge.components(*ratios),
        status="base" if is_baseline else "" if passes else "gate",
    )


def _read_runtime(row: Row, place: str) -> float:
    """Return a row's runtime in ms; of two sets their mean."""
    if "runtime_ms" in row:
        return _read_number(row, "runtime_ms", place)
    return sum(_read_number(row, f"runtime_{name}_ms", place) for name in ("valid", "test")) / 2


def _read_count(row: Row, column: str, place: str) -> float:
    """Return a count from its column in millions or billions, or from the plain one."""
    if column in row:
        return _read_number(row, column, place) * UNITS[column]
    return _read_number(row, column[:-2], place)


def _read_number(row: Row, column: str, place: str) -> float:
    """Return a cell as a number.

    Raises:
        ValueError: it is no finite number above 0.
    """
    text = row[column].strip()

    # Python also reads digits of other scripts, and 1_000, which nobody writes into a table.
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan

    if not (math.isfinite(value) and value > 0):
        raise ValueError(
            f"{place}: {column} must be a number above 0, got {part(text)!r}{number_hint(text)}"
        )

    return value


def _print_ranking(ranked: list[tuple[Entry, Row]], challenge: Challenge, lines: list[str]) -> None:
    """Print the ranked table, and lines below it."""
    console = open_console()
    # All rows have the same columns, so the first one tells them.
    first = ranked[0][0]
    is_wide = console.width >= WIDE
    names = [name for name in NAME_COLUMNS if name in first.row] or list(first.row)[:1]
    if not is_wide:  # room for one name alone
        names = names[-1:]

    table = Table(box=None, padding=(0, 1) if is_wide else (0, 1, 0, 0), pad_edge=False)
    table.add_column("rank", justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, min_width=10, overflow="ellipsis")

    # psnr_test_db is headed "test dB".
    psnr_heads = [
        f"{name.removesuffix('_db').partition('_')[2] or 'psnr'} dB" for name in first.psnr
    ]
    for head in ("score", *psnr_heads, "ms", "params M", "FLOPs G"):
        table.add_column(head, justify="right", no_wrap=True)

    # Huge scores, of networks far from the baseline, are shown with an exponent.
    for entry, columns in ranked:
        table.add_row(
            columns["rank"] or entry.status,
            *(entry.row[name] for name in names),
            f"{entry.score:.3f}" if entry.score < 1e4 else f"{entry.score:.2e}",
            *(f"{value:.2f}" for value in entry.psnr.values()),
            _add_place(f"{entry.runtime_ms:.2f}", columns["rank_runtime"]),
            _add_place(f"{entry.params / 1e6:.3f}", columns["rank_params"]),
            _add_place(f"{entry.flops / 1e9:.2f}", columns["rank_flops"]),
        )

    console.print()
    console.print(challenge.name, style="bold")
    console.print()
    console.print(table)
    console.print()
    print_lines(console, lines)


def protocol(challenge: Challenge, psnr_columns: list[str]) -> list[str]:
    """Return lines on how the scores and the gate beside a table are meant.

    Args:
        psnr_columns: those of the table.
    """
    # The numbers are those that were used, also where the user changed them.
    gate, weights, baseline = challenge.gate, challenge.weights, challenge.baseline

    # A table may hold one PSNR, which is then taken for the validation set's.
    least = {"psnr_valid_db": (gate.valid_db, "valid"), "psnr_test_db": (gate.test_db, "test")}
    gates = [least.get(name, (gate.valid_db, "as valid")) for name in psnr_columns]
    return [
        f"Score = {weights.runtime:g} exp(2 t/{baseline.runtime_ms:g} ms) "
        f"+ {weights.flops:g} exp(2 f/{baseline.flops / 1e9:g} G) "
        f"+ {weights.params:g} exp(2 p/{baseline.params / 1e6:g} M); lower is better.",
        f"Baseline: {baseline.name} on {baseline.device}; "
        "a runtime from another device does not compare.",
        "(n): rank in the sub-track. "
        "Not ranked: base, the baseline; gate, a row below the PSNR gate.",
        f"Ranked from {' and '.join(f'{value:.2f} dB ({where})' for value, where in gates)}, "
        f"tolerance {gate.tolerance_db:g} dB; "
        "PSNR is RGB, uint8, without a border of `scale` pixels.",
    ]


def _add_place(value: str, place: str) -> str:
    return f"{value} ({place})" if place else value
