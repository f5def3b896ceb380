"""What a user can set about data: conf/data/*.yaml holds the values, these constructors are the schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A data set on disk as a part of a mixture: its training part trains, its validation part selects."""

    root: str | None
    weight: float
    first: int | None

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if self.first is not None and self.first < 1:
            raise ValueError(f"first must be at least 1, got first={self.first}; use null for all images")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSource:
    """Photographs that scikit-image ships, by name."""

    train: list[str]
    select: list[str]
    report: list[str]
    weight: float

    def __post_init__(self) -> None:
        _check_weight(self.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The data of one run; a folder given for a role replaces what the sources offer for it."""

    train: str | list[str] | None
    select: str | list[str] | None
    report: str | list[str] | None
    on_error: Literal["stop", "skip"]
    memory_mib: float
    cache: str | None
    sources: dict[str, FolderSource | PhotoSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role, named in (("train", self.train), ("select", self.select), ("report", self.report)):
            if named == "" or (isinstance(named, list) and "" in named):
                raise ValueError(f"data.{role} is empty; name a folder, or null for none")
        if self.on_error not in ("stop", "skip"):
            raise ValueError(f"data.on_error must be stop or skip, got {self.on_error!r}")
        if not self.memory_mib > 0:
            raise ValueError(f"data.memory_mib must be more than 0, got {self.memory_mib}")

    def folders(self, role: Literal["train", "select", "report"]) -> list[str]:
        """The folders that the user named for a role."""
        named: str | list[str] | None = {"train": self.train, "select": self.select, "report": self.report}[
            role
        ]
        if isinstance(named, str):
            return [named]
        return named or []


def _check_weight(weight: float) -> None:
    if not 0 < weight < float("inf"):
        raise ValueError(
            f"weight must be more than 0, got {weight=}; leave the source out instead of weighing it 0"
        )
