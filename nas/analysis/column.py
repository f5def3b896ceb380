"""What one column of a run's table is: how it is stored, computed, shown and judged."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from nas.analysis.row import Row

Dtype = Literal["text", "int64", "Int64", "float64"]
Direction = Literal["maximize", "minimize"]
Noise = Literal["seeds", "latency"]
Panel = Literal["front", "trials"]
Reader = Callable[[Row], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `trials.csv`, of the report's tables and, with a direction, of `objectives`.

    The fields are positional, so that a line of `nas.analysis.columns` reads as one of a table.

    Attributes:
        dtype: pandas' word for it; Int64 holds empty cells, which int64 does not.
        unit: "1" for counts and ratios; empty for text.
        title: what the report calls it; empty: its name.
        format: how the report writes a value: a format specification of Python, "G" for "9.83 G",
            empty: as text.
        value: where the cell is read from: a path from `Row` such as "latency.ratio", or a function
            of the row. A cell of what was not measured is None. Empty where the cell depends on all
            rows: `nas.analysis.membership` fills those.
        direction: which way is better, for a column that may be an objective. A minimised one may
            have a limit.
        noise: why a second reading would differ: another seed of training, or another latency;
            None: it is exact.
        panels: the tables of the report that show it.
        optional: leave it out of a run in which no row has it.

    Example:
        >>> column = Column("size", "Int64", "MiB", "memory", ",", "cost.memory_mib", "minimize")
        >>> column.heading
        'memory (MiB)'
    """

    name: str
    dtype: Dtype
    unit: str
    title: str
    format: str
    value: str | Reader
    direction: Direction | None = None
    noise: Noise | None = None
    panels: tuple[Panel, ...] = ()
    optional: bool = False

    @property
    def words(self) -> str:
        """What a sentence calls it: "PSNR gain"."""
        return self.title or self.name

    @property
    def label(self) -> str:
        """What an axis calls it, with its unit: "PSNR gain (dB)"."""
        return self.words if self.unit in ("", "1") else f"{self.words} ({self.unit})"

    @property
    def heading(self) -> str:
        """What the head of a table calls it: as an axis, without a unit that every cell repeats."""
        return self.words if self.format == "G" else self.label

    def make_reader(self) -> Reader:
        """Return the function that gives the cell of a row, None where it was not measured."""
        # A path is split once here, not once a row: a table reads some 40 columns of each.
        if callable(self.value):
            return self.value

        part, _, field = self.value.partition(".")
        if part not in ("cost", "latency", "quality"):
            return attrgetter(self.value)

        # These parts of a record are None until they were measured.
        def read_field(row: Row) -> Any:
            measured = getattr(row, part)
            return None if measured is None else getattr(measured, field)

        return read_field
