"""What a user can set about data: conf/data/*.yaml holds the values, these constructors are the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

RoleName = Literal["train", "select", "report"]

FROM_HR = "none"  # the value of data.lr with which LR images are made from HR


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
    lr: str | list[str] | dict[str, str | list[str] | None] | None
    on_error: Literal["stop", "skip"]
    memory_mib: float
    cache: str | None
    sources: dict[str, FolderSource | PhotoSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role, named in (("train", self.train), ("select", self.select), ("report", self.report)):
            if named == "" or (isinstance(named, list) and "" in named):
                raise ValueError(f"data.{role} is empty; name a folder, or null for none")
        self._check_lr()
        if self.on_error not in ("stop", "skip"):
            raise ValueError(f"data.on_error must be stop or skip, got {self.on_error!r}")
        if not self.memory_mib > 0:
            raise ValueError(f"data.memory_mib must be more than 0, got {self.memory_mib}")

    def folders(self, role: RoleName) -> list[str]:
        """The folders that the user named for a role."""
        return _as_list({"train": self.train, "select": self.select, "report": self.report}[role])

    def lr_folders(self, role: RoleName, opened: Sequence[RoleName]) -> list[str | None]:
        """For each folder of a role the folder of its LR images, "none" to make them, None to look for them.

        Without a role in its name `data.lr` belongs to the images that are judged, and to the training images
        where only these are named.

        Args:
            role: one that folders are named for.
            opened: the roles that are opened together.
        Raises:
            ValueError: it could belong to two roles, or names more or fewer folders than the role has.
        """
        count = len(self.folders(role))
        if self.lr == FROM_HR:
            return [FROM_HR] * count
        if isinstance(self.lr, dict):
            key, given = f"data.lr.{role}", _as_list(self.lr.get(role))
        else:
            key, given = "data.lr", _as_list(self.lr) if self._is_meant(role, opened) else []
        if given == [FROM_HR]:
            return [FROM_HR] * count
        if given and len(given) != count:
            raise ValueError(
                f"{key} names {len(given)} folder(s), data.{role} {count}: give one for each, in their order"
            )
        return list(given) if given else [None] * count

    @property
    def makes_lr(self) -> bool:
        """Whether all LR images are to be made from HR."""
        return self.lr == FROM_HR

    def _is_meant(self, role: RoleName, opened: Sequence[RoleName]) -> bool:
        """Whether a `data.lr` without a role's name belongs to this role."""
        named = [one for one in opened if self.folders(one)]
        judged = [one for one in named if one != "train"]
        if self.lr is not None and len(judged) > 1:
            raise ValueError(
                f"data.lr could belong to {' or '.join(f'data.{one}' for one in judged)}; "
                f"say which: data.lr.{judged[-1]}=FOLDER"
            )
        return role in (judged or named)

    def _check_lr(self) -> None:
        """Refuse LR folders that no folder of HR images is named for."""
        if self.lr == FROM_HR:
            return
        if isinstance(self.lr, dict):
            roles: tuple[RoleName, ...] = ("train", "select", "report")
            for role in roles:
                given = _as_list(self.lr.get(role))
                if given and given != [FROM_HR] and not self.folders(role):
                    raise ValueError(
                        f"data.lr.{role} goes with folders of HR images; name them: data.{role}=FOLDER"
                    )
        elif self.lr is not None and not (self.train or self.select or self.report):
            raise ValueError("data.lr goes with a folder of HR images; name it, such as data.report=FOLDER")
        choices = list(self.lr.values()) if isinstance(self.lr, dict) else [self.lr]
        if any("" in _as_list(choice) for choice in choices):
            raise ValueError(f"data.lr is empty; name a folder of LR images, {FROM_HR}, or null")


def _as_list(given: str | list[str] | None) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else given


def _check_weight(weight: float) -> None:
    if not 0 < weight < float("inf"):
        raise ValueError(
            f"weight must be more than 0, got {weight=}; leave the source out instead of weighing it 0"
        )
