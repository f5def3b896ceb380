"""A table of every member of a space: costs, latency, and what each training reached on its way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nas.analysis.ladder import rung_spec
from nas.search.table.entries import (
    Entry,
    Facts,
    find_kind,
    list_columns,
    list_later_columns,
    list_rows,
    read_entries,
)
from nas.system.files.drafts import replaced
from nas.system.schema.stored_schema import SchemaError
from search_spaces.spec import ArchSpec

FACTS = b"esr_nas"  # key of the metadata in the file's schema
SHIPPED = Path(__file__).parents[2] / "tables"
MAX_ROWS = 1_000_000
MAX_UNPACKED = 2**30  # bytes; a dictionary of texts can stand for more than memory holds


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
        return pd.DataFrame(list(list_rows(self.facts, self.entries.values())))

    def save(self, path: Path) -> None:
        """Write a Parquet file, whole or not at all; its pages have checksums."""
        # An index of pandas would be a column to every other reader.
        data = pa.Table.from_pandas(self.frame(), preserve_index=False)
        data = data.replace_schema_metadata({FACTS: self.facts.to_json().encode()})
        with replaced(path, path.with_name(f"{path.name}.partial")) as draft:
            pq.write_table(data, draft, compression="zstd", write_page_checksum=True)

    @classmethod
    def load(cls, path: Path) -> "Table":
        """Read what `save` wrote.

        Raises:
            ValueError: the file is no such table.
        """
        place = f"table={path}"
        try:
            metadata, rows = _read_parquet(path, place)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, MemoryError):
                raise
            first = " ".join(str(error).split())
            raise ValueError(f"{place} is no Parquet file, or a damaged one: {first}") from None
        facts = Facts.from_json(metadata, f"{place}, metadata")
        table = cls(facts=facts, entries=read_entries(facts, rows, place))
        for size in facts.ladder_sizes:
            if rung_spec(size, facts.scale).arch_id not in table.entries:
                raise SchemaError(place, f"expected a member of each size, got none of {size}")
        return table


def _read_parquet(path: Path, place: str) -> tuple[bytes, list[dict[str, Any]]]:
    """Return the facts in a file's metadata, and its rows.

    Raises:
        SchemaError: it has other columns or is too large. pa.ArrowException, OSError: no Parquet.
    """
    # What the footer says is judged before anything of its size is made.
    with pq.ParquetFile(path) as file:
        schema, footer = file.schema_arrow, file.metadata
        facts = (schema.metadata or {}).get(FACTS)
        if facts is None:
            raise ValueError(
                f"{place} is not one of nas tabulate: its metadata lacks {FACTS.decode()}"
            )
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        num_bytes = sum(max(0, group.total_byte_size) for group in groups)
    if footer.num_rows > MAX_ROWS or num_bytes > MAX_UNPACKED:
        words = f"expected at most {MAX_ROWS:,} rows of {MAX_UNPACKED // 2**20} MiB in all"
        raise SchemaError(place, f"{words}, got {footer.num_rows:,} of {num_bytes // 2**20}")
    later = list_later_columns() - {*schema.names}
    columns = {name: hint for name, hint in list_columns().items() if name not in later}
    texts = [name for name, hint in columns.items() if _check_column(schema, name, hint, place)]

    # Texts stay packed until it is known how much they are.
    with pq.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True) as file:
        data = file.read(columns=list(columns))
    num_letters = sum(_count_letters(chunk) for name in texts for chunk in data[name].chunks)
    if num_letters > MAX_UNPACKED:
        raise SchemaError(place, f"expected less text, got {num_letters // 2**20} MiB of it")
    return facts, data.to_pylist()


def _check_column(schema: pa.Schema, name: str, hint: Any, place: str) -> bool:
    """Check the type of a column; return whether it is text.

    Raises:
        SchemaError: it is missing, stands there twice, or has another type.
    """
    places = schema.get_all_field_indices(name)
    if len(places) != 1:
        count = "none" if not places else str(len(places))
        raise SchemaError(place, f"expected one column, got {count}", name)
    kind = schema.field(places[0]).type
    allowed = {
        str: (pa.types.is_string, pa.types.is_large_string),
        int: (pa.types.is_integer,),
        float: (pa.types.is_floating, pa.types.is_integer),
    }[find_kind(hint)]
    if not any(is_kind(kind) for is_kind in allowed):
        words = "text" if find_kind(hint) is str else "numbers"
        raise SchemaError(place, f"expected {words}, got {str(kind)[:40]}", name)
    return find_kind(hint) is str


def _count_letters(texts: pa.DictionaryArray) -> int:
    lengths = pc.binary_length(texts.dictionary).take(texts.indices)
    return int(pc.sum(lengths).as_py() or 0)


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
