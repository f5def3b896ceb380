"""A table of every member of a space: costs, latency, and what each training reached on its way."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nas.record import Cost, Curve, Latency
from nas.system.drafts import replaced
from search_spaces.spec import ArchSpec

FACTS = b"esr_nas"  # key of the metadata in the file's schema
COSTS = tuple(field.name for field in fields(Cost))
READ = {  # of a latency, beside its conditions, and the columns that hold it
    "runtime_ms": "runtime_ms",
    "baseline_ms": "baseline_ms",
    "ratio": "runtime_ratio",
    "ci": "runtime_ci",
    "rounds": "latency_rounds",
    "rejected": "latency_rejected",
}
SHIPPED = Path(__file__).parents[2] / "tables"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What holds for a whole table.

    Attributes:
        rungs: SPAN-like members, channels x blocks, smallest first: its ladder; the last is its baseline and
            the reference of its gate.
        fidelities: training steps at which PSNR was read, rising.
        base_db: PSNR of the base alone.
        conditions: of every latency.
        settings, environment: how it was made, to be read by people.
    """

    scale: int
    rungs: tuple[str, ...]
    fidelities: tuple[int, ...]
    base_db: float
    conditions: Mapping[str, Any]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training of a member; a curve without readings has an error."""

    curve: Curve
    train_seconds: float
    restarts: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member. `runs` are by seed, from 0."""

    spec: ArchSpec
    cost: Cost
    latency: Latency
    measure_seconds: float
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Entries by arch_id, and what holds for all."""

    facts: Facts
    entries: Mapping[str, Entry]

    def frame(self) -> pd.DataFrame:
        """One row for each member, seed and fidelity; train_seconds are those up to that fidelity."""
        return pd.DataFrame(list(_rows(self.facts, self.entries.values())))

    def save(self, path: Path) -> None:
        """Write a Parquet file, whole or not at all."""
        data = pa.Table.from_pandas(self.frame(), preserve_index=False)
        facts = json.dumps(asdict(self.facts), allow_nan=False).encode()
        with replaced(path, path.with_name(f"{path.name}.partial")) as draft:
            pq.write_table(data.replace_schema_metadata({FACTS: facts}), draft, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> "Table":
        """Read what `save` wrote.

        Raises:
            ValueError: the file is no such table.
        """
        try:
            data = pq.read_table(path)
        except pa.ArrowInvalid as error:
            raise ValueError(f"table={path} is no Parquet file: {error}") from None
        if FACTS not in (data.schema.metadata or {}):
            raise ValueError(f"table={path} is not one of nas tabulate: its metadata lacks {FACTS.decode()}")
        found = json.loads(data.schema.metadata[FACTS])
        facts = Facts(**found | {"rungs": tuple(found["rungs"]), "fidelities": tuple(found["fidelities"])})
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in data.to_pylist():
            rows.setdefault(row["arch_id"], []).append(row)
        return cls(facts=facts, entries={name: _entry(facts, own) for name, own in rows.items()})


def find_table(name: str) -> Path:
    """The file of a table that ships, or a path.

    Raises:
        ValueError: there is none.
    """
    shipped = SHIPPED / f"{name}.parquet"
    if shipped.is_file():
        return shipped
    if not Path(name).is_file():
        known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.parquet"))) or "none"
        raise ValueError(f"table={name}: there is no such file; those that ship: {known}")
    return Path(name)


def _rows(facts: Facts, entries: Iterable[Entry]) -> Iterable[dict[str, Any]]:
    for entry in entries:
        member = {"arch_id": entry.spec.arch_id, "arch": entry.spec.to_json(), **asdict(entry.cost)}
        member |= {column: getattr(entry.latency, name) for name, column in READ.items()}
        member["measure_seconds"] = entry.measure_seconds
        for seed, run in enumerate(entry.runs):
            reached = dict(run.curve)
            for fidelity in facts.fidelities:
                seconds = run.train_seconds * fidelity / facts.fidelities[-1]
                yield {
                    **member,
                    "seed": seed,
                    "fidelity": fidelity,
                    "psnr_db": reached.get(fidelity),
                    "train_seconds": seconds,
                    "restarts": run.restarts,
                    "error": run.error,
                }


def _entry(facts: Facts, rows: list[dict[str, Any]]) -> Entry:
    first = rows[0]
    runs = []
    for seed in sorted({row["seed"] for row in rows}):
        own = sorted((row for row in rows if row["seed"] == seed), key=lambda row: row["fidelity"])
        curve = tuple((row["fidelity"], row["psnr_db"]) for row in own if row["psnr_db"] is not None)
        last = own[-1]
        runs.append(
            Run(
                curve=curve,
                train_seconds=last["train_seconds"],
                restarts=last["restarts"],
                error=last["error"],
            )
        )
    read = {name: first[column] for name, column in READ.items()}
    return Entry(
        spec=ArchSpec.from_json(first["arch"]),
        cost=Cost(**{name: first[name] for name in COSTS}),
        latency=Latency(**read, **facts.conditions),
        measure_seconds=first["measure_seconds"],
        runs=tuple(runs),
    )
