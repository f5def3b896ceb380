"""What a table holds of its members, and the rows of its file."""

import itertools
import json
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Annotated, Any

from nas.analysis.ladder import Size
from nas.record import Cost, Curve, Latency
from nas.system.schema.schema_rules import Amount, Count, Decibels, Matches, PositiveCount, Within
from nas.system.schema.stored_schema import Fields, SchemaError, parse_as, read_as
from search_spaces.spec import ArchSpec

COSTS = tuple(field.name for field in fields(Cost))
LATENCY_COLUMNS = {  # the parts of a latency that differ between members, and their columns
    "runtime_ms": "runtime_ms",
    "baseline_ms": "baseline_ms",
    "ratio": "runtime_ratio",
    "ci": "runtime_ci",
    "rounds": "latency_rounds",
    "rejected": "latency_rejected",
}
MAX_READINGS = 1000  # steps at which one training is read


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

    scale: Annotated[int, Within(2, 4)]
    ladder_sizes: Annotated[tuple[Size, ...], Within(2, 64)]
    fidelities: Annotated[tuple[PositiveCount, ...], Within(1, MAX_READINGS)]
    base_db: Decibels
    conditions: Mapping[str, Any]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]

    def __post_init__(self) -> None:
        if any(a >= b for a, b in itertools.pairwise(self.fidelities)):
            raise ValueError(f"fidelities must rise, got {self.fidelities[:10]}")

    def to_json(self) -> str:
        """Write the facts as a file's metadata holds them, where the sizes are called rungs."""
        data = asdict(self)
        data["rungs"] = data.pop("ladder_sizes")
        return json.dumps(data, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, place: str = "") -> "Facts":
        """Read what `to_json` wrote.

        Raises:
            SchemaError: the text is nothing else.
        """
        data = parse_as(dict[str, Any], text, place)
        if "rungs" in data:
            data["ladder_sizes"] = data.pop("rungs")
        return read_as(cls, data, place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training of a member; one that failed has an error and an empty curve."""

    curve: Curve
    train_seconds: Amount
    restarts: Count
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member; its trainings are by seed, from 0."""

    spec: ArchSpec
    cost: Cost
    latency: Latency
    measure_seconds: float
    trainings: tuple[Training, ...]


def list_member_columns() -> dict[str, Any]:
    """Return the columns that are the same in all rows of a member, and their annotations."""
    cost, latency = (typing.get_type_hints(kind, include_extras=True) for kind in (Cost, Latency))
    return {
        "arch_id": Annotated[str, Matches(r"[0-9a-f]{12}", "an arch_id")],
        "arch": str,
        **{name: cost[name] for name in COSTS},
        **{column: latency[name] for name, column in LATENCY_COLUMNS.items()},
        "measure_seconds": Amount,
    }


def list_columns() -> dict[str, Any]:
    """Return the columns of a table's file, and their annotations."""
    return {
        **list_member_columns(),
        "seed": Count,
        "fidelity": PositiveCount,
        "psnr_db": Decibels | None,
        "train_seconds": Amount,
        "restarts": Count,
        "error": str,
    }


def list_later_columns() -> set[str]:
    """Return the columns that a table from before a cost was counted lacks."""
    return {field.name for field in fields(Cost) if field.default is not MISSING}


def find_kind(hint: Any) -> Any:
    """Return the plain type of a column's annotation: int, float or str."""
    arguments = typing.get_args(hint)
    return find_kind(arguments[0]) if arguments else hint


def list_rows(facts: Facts, entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
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


def read_entries(facts: Facts, rows: Iterable[Mapping[str, Any]], file: str) -> dict[str, Entry]:
    """Read the members from the rows of a table's file, by arch_id.

    Raises:
        SchemaError: a row does not fit, or a member's rows are not those of whole trainings.
    """
    # Rows of one member need not lie together.
    columns = list_columns()
    schema = Fields(columns, needed=[name for name in columns if name not in list_later_columns()])
    members: dict[str, list[Mapping[str, Any]]] = {}
    for number, row in enumerate(rows):
        checked = schema.check(row, f"{file}, record {number}")
        members.setdefault(checked["arch_id"], []).append(checked)
    return {
        arch_id: _read_entry(facts, own, f"{file}, member {arch_id}")
        for arch_id, own in members.items()
    }


def _read_entry(facts: Facts, rows: Sequence[Mapping[str, Any]], place: str) -> Entry:
    """Read a member from its rows; what is the same in all of them is read from the first."""
    first = rows[0]
    for name in list_member_columns().keys() & first.keys():
        if any(row[name] != first[name] for row in rows):
            raise SchemaError(place, "expected one value in all its rows", name)

    spec = parse_as(ArchSpec, first["arch"], place)
    if spec.arch_id != first["arch_id"]:
        raise SchemaError(
            place, f"expected its own, got one whose arch_id is {spec.arch_id}", "arch"
        )

    latency = {name: first[column] for name, column in LATENCY_COLUMNS.items()}
    seeds = sorted({row["seed"] for row in rows})
    if seeds != [*range(len(seeds))]:
        raise SchemaError(place, f"expected 0, 1, 2, ... without gaps, got {seeds[:10]}", "seed")
    return Entry(
        spec=spec,
        cost=Cost(**{name: first[name] for name in COSTS if name in first}),
        latency=read_as(Latency, {**latency, **facts.conditions}, place),
        measure_seconds=first["measure_seconds"],
        trainings=tuple(
            _read_training(facts, [row for row in rows if row["seed"] == seed], place)
            for seed in seeds
        ),
    )


def _read_training(facts: Facts, rows: Sequence[Mapping[str, Any]], place: str) -> Training:
    """Read one training from its rows, one a fidelity."""
    # The longest row holds what is true of the whole training.
    rows = sorted(rows, key=lambda row: row["fidelity"])
    if [row["fidelity"] for row in rows] != [*facts.fidelities]:
        words = f"expected a row for each of {', '.join(map(str, facts.fidelities))}"
        raise SchemaError(place, f"{words} of seed {rows[0]['seed']}", "fidelity")
    if any((row["psnr_db"] is None) != bool(row["error"]) for row in rows):
        raise SchemaError(place, "expected one where there is no error, and none else", "psnr_db")

    last = rows[-1]
    return Training(
        curve=tuple((row["fidelity"], row["psnr_db"]) for row in rows if not row["error"]),
        train_seconds=last["train_seconds"],
        restarts=last["restarts"],
        error=last["error"],
    )
