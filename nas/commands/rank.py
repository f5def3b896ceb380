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

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas.cli.message import part, printable
from nas.commands.csv_files import Row, number_hint, read_csv
from nas.score import Challenge, Components, ranks
from nas.system.drafts import check_target, replaced

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the table, read and scored."""

    row: Row
    psnr: dict[str, float]
    runtime_ms: float
    params: float
    flops: float
    score: float
    components: Components
    status: Literal[
        "", "base", "gate"
    ]  # why it is not ranked: it is the baseline, or below the PSNR gate


def run(*, table: str, out: str | None, challenge: Challenge) -> None:
    """Print the ranked table and, with `out`, write it."""
    header, rows = read(table)
    entries = [_entry(row, f"table={table}, line {line}", challenge) for line, row in rows]
    ranked = rank(entries)
    if out is not None:
        write(out, header, ranked)
    _show(ranked, challenge, out)


def read(table: str) -> tuple[list[str], list[tuple[int, Row]]]:
    """Read a CSV file: its columns without those that ranking writes, and its rows by line number."""
    header, lines = read_csv(Path(table), f"table={table}")
    _check_columns(table, header)
    kept = [name for name in header if name not in WRITTEN]
    return kept, [(line, {name: row[name] for name in kept}) for line, row in lines]


def rank(entries: list[Entry]) -> list[tuple[Entry, Row]]:
    """Give each entry with the columns that ranking writes, best first, unranked last."""
    places = {}
    running = [entry for entry in entries if not entry.status]
    costs = ("score", "runtime_ms", "params", "flops")
    for track, cost in zip(TRACKS, costs, strict=True):
        for entry, place in zip(
            running, ranks([getattr(entry, cost) for entry in running]), strict=True
        ):
            places[id(entry), track] = str(place)
    ordered = sorted(entries, key=lambda entry: (bool(entry.status), entry.score))
    return [
        (
            entry,
            {
                "score": repr(entry.score),
                "score_runtime": repr(entry.components.runtime),
                "score_params": repr(entry.components.params),
                "score_flops": repr(entry.components.flops),
                **{track: places.get((id(entry), track), "") for track in TRACKS},
            },
        )
        for entry in ordered
    ]


def write(out: str, header: list[str], ranked: list[tuple[Entry, Row]]) -> None:
    """Write the ranked table, whole or not at all."""
    check_target("out", out, "CSV file")
    target = Path(out)
    with (
        replaced(target) as draft,
        draft.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, [*header, *WRITTEN], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**entry.row, **columns} for entry, columns in ranked)


def _check_columns(table: str, header: list[str]) -> None:
    needed = {
        "PSNR": tuple((name,) for name in PSNR_COLUMNS),
        "runtime": (("runtime_ms",), ("runtime_valid_ms", "runtime_test_ms")),
        "parameters": (("params_m",), ("params",)),
        "FLOPs": (("flops_g",), ("flops",)),
    }
    for what, ways in needed.items():
        if not any(set(way) <= set(header) for way in ways):
            names = " or ".join(" and ".join(way) for way in ways)
            lower = {name.lower() for name in header}
            case = "; names are in small letters" if any(set(way) <= lower for way in ways) else ""
            raise ValueError(
                f"table={table}: no column for {what}: needs {names}; found {part(', '.join(header))}{case}"
            )


def _entry(row: Row, place: str, challenge: Challenge) -> Entry:
    baseline = challenge.baseline
    psnr: dict[str, float] = {
        column: _number(row, column, place) for column in PSNR_COLUMNS if column in row
    }
    runtime_ms = (
        _number(row, "runtime_ms", place)
        if "runtime_ms" in row
        else (_number(row, "runtime_valid_ms", place) + _number(row, "runtime_test_ms", place)) / 2
    )
    params, flops = (
        _number(row, short, place) * UNITS[short]
        if short in row
        else _number(row, short[:-2], place)
        for short in UNITS
    )
    ratios = (runtime_ms / baseline.runtime_ms, flops / baseline.flops, params / baseline.params)
    passes = challenge.gate.passes(
        valid_db=psnr.get("psnr_valid_db", psnr.get("psnr_db")), test_db=psnr.get("psnr_test_db")
    )
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


def _number(row: Row, column: str, place: str) -> float:
    text = row[column].strip()
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(
            f"{place}: {column} must be a number above 0, got {part(text)!r}{number_hint(text)}"
        )
    return value


def _show(ranked: list[tuple[Entry, Row]], challenge: Challenge, out: str | None) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width of its own: nothing is cut
    first = ranked[0][0]
    known = ["team", "method", "name"]
    names = [name for name in known if name in first.row] or list(first.row)[:1]
    wide = console.width >= 112
    if not wide:  # room for one name alone
        names = names[-1:]
    console.print(f"\n{challenge.name}\n", style="bold", markup=False, highlight=False)
    table = Table(box=None, padding=(0, 1) if wide else (0, 1, 0, 0), pad_edge=False)
    table.add_column("rank", justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, min_width=10, overflow="ellipsis")
    psnr_heads = [
        f"{name.removesuffix('_db').partition('_')[2] or 'psnr'} dB" for name in first.psnr
    ]
    for head in ("score", *psnr_heads, "ms", "params M", "FLOPs G"):
        table.add_column(head, justify="right", no_wrap=True)
    for entry, columns in ranked:
        table.add_row(
            columns["rank"] or entry.status,
            *(escape(printable(entry.row[name])) for name in names),
            f"{entry.score:.3f}" if entry.score < 1e4 else f"{entry.score:.2e}",
            *(f"{value:.2f}" for value in entry.psnr.values()),
            _with_place(f"{entry.runtime_ms:.2f}", columns["rank_runtime"]),
            _with_place(f"{entry.params / 1e6:.3f}", columns["rank_params"]),
            _with_place(f"{entry.flops / 1e9:.2f}", columns["rank_flops"]),
        )
    console.print(table)
    console.print()
    for line in [
        *protocol(challenge, list(first.psnr)),
        *([f"written: {out}"] if out is not None else []),
    ]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def protocol(challenge: Challenge, psnr_columns: list[str]) -> list[str]:
    """Say how the scores and the gate beside a table are meant."""
    gate, weights, baseline = challenge.gate, challenge.weights, challenge.baseline
    least = {"psnr_valid_db": (gate.valid_db, "valid"), "psnr_test_db": (gate.test_db, "test")}
    gates = [least.get(name, (gate.valid_db, "as valid")) for name in psnr_columns]
    return [
        f"Score = {weights.runtime:g} exp(2 t/{baseline.runtime_ms:g} ms) "
        f"+ {weights.flops:g} exp(2 f/{baseline.flops / 1e9:g} G) "
        f"+ {weights.params:g} exp(2 p/{baseline.params / 1e6:g} M); lower is better.",
        f"Baseline: {baseline.name} on {baseline.device}; a runtime from another device does not compare.",
        "(n): rank in the sub-track. Not ranked: base, the baseline; gate, a row below the PSNR gate.",
        f"Ranked from {' and '.join(f'{value:.2f} dB ({where})' for value, where in gates)}, "
        f"tolerance {gate.tolerance_db:g} dB; PSNR is RGB, uint8, without a border of `scale` pixels.",
    ]


def _with_place(value: str, place: str) -> str:
    return f"{value} ({place})" if place else value
