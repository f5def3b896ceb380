"""A table of every member of a space: costs, latency, and what each training reached on its way."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nas.analysis.ladder import rung_spec
from nas.record import Cost, Curve, Latency
from nas.system.drafts import replaced
from search_spaces.spec import ArchSpec

FACTS = b"esr_nas"  # key of the metadata in the file's schema
COSTS = tuple(field.name for field in fields(Cost))
LATENCY_COLUMNS = {  # the parts of a latency that differ between members, and their columns
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
        ladder_sizes: SPAN-like members, channels x blocks, smallest first; the last is the
            baseline, to which the gate refers.
        fidelities: training steps at which PSNR was read, rising.
        base_db: PSNR of the bicubic base alone.
        conditions: of every latency.
        settings, environment: how it was made, to be read by people.
    """

    scale: int
    ladder_sizes: tuple[str, ...]
    fidelities: tuple[int, ...]
    base_db: float
    conditions: Mapping[str, Any]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]

    def to_json(self) -> str:
        """Write the facts as a file's metadata holds them, where the sizes are called rungs."""
        data = asdict(self)
        data["rungs"] = data.pop("ladder_sizes")
        return json.dumps(data, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Facts":
        """Read what `to_json` wrote."""
        data = json.loads(text)
        sizes, fidelities = tuple(data.pop("rungs")), tuple(data.pop("fidelities"))
        return cls(ladder_sizes=sizes, fidelities=fidelities, **data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training of a member; one that failed has an error and an empty curve."""

    curve: Curve
    train_seconds: float
    restarts: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member; its trainings are by seed, from 0."""

    spec: ArchSpec
    cost: Cost
    latency: Latency
    measure_seconds: float
    trainings: tuple[Training, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Entries by arch_id, and what holds for all.

    Example:
        >>> table = Table.load(find_table("esr_bench_mini"))
        >>> len(table.entries), table.facts.ladder_sizes[-1]
        (144, '20x4')
    """

    facts: Facts
    entries: Mapping[str, Entry]

    @property
    def baseline(self) -> ArchSpec:
        """The largest size of the table's ladder, with which every member is compared."""
        return rung_spec(self.facts.ladder_sizes[-1], self.facts.scale)

    def frame(self) -> pd.DataFrame:
        """Return a row for each member, seed and fidelity; train_seconds are up to there."""
        return pd.DataFrame(list(_list_rows(self.facts, self.entries.values())))

    def save(self, path: Path) -> None:
        """Write a Parquet file, whole or not at all."""
        # An index of pandas would be a column to every other reader.
        data = pa.Table.from_pandas(self.frame(), preserve_index=False)
        data = data.replace_schema_metadata({FACTS: self.facts.to_json().encode()})
        with replaced(path, path.with_name(f"{path.name}.partial")) as draft:
            pq.write_table(data, draft, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> "Table":
        """Read what `save` wrote.

        Raises:
            ValueError: the file is no such table.
        """
        # Any Parquet file can be read: the key in its schema says whose it is.
        try:
            data = pq.read_table(path)
        except pa.ArrowInvalid as error:
            raise ValueError(f"table={path} is no Parquet file: {error}") from None
        if FACTS not in (data.schema.metadata or {}):
            raise ValueError(
                f"table={path} is not one of nas tabulate: its metadata lacks {FACTS.decode()}"
            )

        # Rows of one member need not lie together.
        facts = Facts.from_json(data.schema.metadata[FACTS])
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in data.to_pylist():
            rows.setdefault(row["arch_id"], []).append(row)
        entries = {arch_id: _read_entry(facts, member) for arch_id, member in rows.items()}
        return cls(facts=facts, entries=entries)


def find_table(name: str) -> Path:
    """Return the file of a table that ships, or the path that `name` is.

    Raises:
        ValueError: there is none.
    """
    # A name goes before a file of that name in the working directory.
    shipped = SHIPPED / f"{name}.parquet"
    if shipped.is_file():
        return shipped
    if not Path(name).is_file():
        names = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.parquet"))) or "none"
        raise ValueError(f"table={name}: there is no such file; those that ship: {names}")

    return Path(name)


def _list_rows(facts: Facts, entries: Iterable[Entry]) -> Iterable[dict[str, Any]]:
    """Give the rows of a table's file."""
    for entry in entries:
        member = {"arch_id": entry.spec.arch_id, "arch": entry.spec.to_json(), **asdict(entry.cost)}
        for name, column in LATENCY_COLUMNS.items():
            member[column] = getattr(entry.latency, name)
        member["measure_seconds"] = entry.measure_seconds

        for seed, training in enumerate(entry.trainings):
            # A failed training has rows too, with no PSNR in them.
            psnr_db = dict(training.curve)
            for fidelity in facts.fidelities:
                seconds = training.train_seconds * fidelity / facts.fidelities[-1]
                yield {
                    **member,
                    "seed": seed,
                    "fidelity": fidelity,
                    "psnr_db": psnr_db.get(fidelity),
                    "train_seconds": seconds,
                    "restarts": training.restarts,
                    "error": training.error,
                }


def _read_entry(facts: Facts, rows: list[dict[str, Any]]) -> Entry:
    """Read a member from its rows; what is the same in all of them is read from the first."""
    first = rows[0]
    latency = {name: first[column] for name, column in LATENCY_COLUMNS.items()}
    seeds = sorted({row["seed"] for row in rows})
    return Entry(
        spec=ArchSpec.from_json(first["arch"]),
        # A table that was made before a cost was counted lacks its column.
        cost=Cost(**{name: first[name] for name in COSTS if name in first}),
        latency=Latency(**latency, **facts.conditions),
        measure_seconds=first["measure_seconds"],
        trainings=tuple(
            _read_training([row for row in rows if row["seed"] == seed]) for seed in seeds
        ),
    )


def _read_training(rows: list[dict[str, Any]]) -> Training:
    """Read one training from its rows, one a fidelity."""
    # The longest row holds what is true of the whole training.
    rows = sorted(rows, key=lambda row: row["fidelity"])
    curve = [(row["fidelity"], row["psnr_db"]) for row in rows if row["psnr_db"] is not None]
    last = rows[-1]
    return Training(
        curve=tuple(curve),
        train_seconds=last["train_seconds"],
        restarts=last["restarts"],
        error=last["error"],
    )
