"""The settings of data: conf/data/*.yaml holds the values, these constructors are the schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

RoleName = Literal["train", "val", "test"]

_JUDGED_ROLES: tuple[RoleName, ...] = ("val", "test")
SYNTHETIC = "synthetic"  # as a source: the images that data.synthetic adds
FROM_HR = "none"  # the value of data.lr with which LR images are made from HR


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A data set on disk as a part of a mixture, for the roles train and val.

    Attributes:
        root: the data set's folder; None: it has to be named.
        weight: how often patches come from it, relative to the other sources.
        first: keep only that many training images, in the order of their names; None: all.
    """

    root: str | None
    weight: float
    first: int | None

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if self.first is not None and self.first < 1:
            raise ValueError(
                f"first must be at least 1, got first={self.first}; use null for all images"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSource:
    """Photographs that installed packages carry.

    Attributes:
        train, val, test: their names, by role.
        scales: sides at which training photographs are used, in shares of their own.
        synthetic: share of the training patches from synthetic images, where these alone train.
        weight: how often patches come from here, relative to the other sources.
    """

    train: list[str]
    val: list[str]
    test: list[str]
    scales: list[float]
    synthetic: float
    weight: float

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if not self.scales or len(set(self.scales)) < len(self.scales):
            raise ValueError(
                f"scales must hold one or more different numbers, got {self.scales}; use [1]"
            )
        for scale in self.scales:
            if not 0.1 <= scale <= 1:
                raise ValueError(
                    f"scales must be from 0.1 to 1, the photograph's own, got {scale:g}"
                )
        _check_share("synthetic", self.synthetic)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The data of one run; a folder given for a role replaces what the sources offer for it.

    Attributes:
        train, val, test: folders of HR images, by role.
        lr: folders of the LR images of val, then of test; "none": LR is made from HR.
        lr_train: folders of the LR images of train, in the same way.
        synthetic: share of the training patches from synthetic images; None: what the built-in
            photographs ask for where they alone train, else 0.
        on_error: whether an unusable image stops the run or is skipped.
        memory_mib: of decoded training images that the workers of a host may hold together, where
            they cannot map the one store of the run.
        cache: folder of that store, found again by the next run; None: a temporary one.
        sources: data sets by name, used for the roles that no folder is named for.
    """

    train: str | list[str] | None
    val: str | list[str] | None
    test: str | list[str] | None
    lr: str | list[str] | None
    lr_train: str | list[str] | None
    synthetic: float | None
    on_error: Literal["stop", "skip"]
    memory_mib: float
    cache: str | None
    sources: dict[str, FolderSource | PhotoSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role, named in (("train", self.train), ("val", self.val), ("test", self.test)):
            if named == "" or (isinstance(named, list) and "" in named):
                raise ValueError(f"data.{role} is empty; name a folder, or null for none")

        self._check_lr()
        if self.synthetic is not None:
            _check_share("data.synthetic", self.synthetic)
        # Sources are told apart by name, in weights and in captions.
        if SYNTHETIC in self.sources:
            raise ValueError(
                f"data.sources: {SYNTHETIC} is the name of the images that data.synthetic adds"
            )
        if self.on_error not in ("stop", "skip"):
            raise ValueError(f"data.on_error must be stop or skip, got {self.on_error!r}")
        if not self.memory_mib > 0:
            raise ValueError(f"data.memory_mib must be more than 0, got {self.memory_mib}")

    @property
    def synthetic_share(self) -> float:
        """Return the share of the training patches that come from synthetic images."""
        if self.synthetic is not None:
            return self.synthetic
        photographs = [
            source for source in self.sources.values() if isinstance(source, PhotoSource)
        ]
        if self.train or len(photographs) < len(self.sources):
            return 0.0
        return max((source.synthetic for source in photographs), default=0.0)

    def folders(self, role: RoleName) -> list[str]:
        """Return the folders that the user named for a role."""
        return _as_list({"train": self.train, "val": self.val, "test": self.test}[role])

    def lr_folders(self, role: RoleName) -> list[str | None]:
        """Return for each folder of a role where its LR images come from.

        `lr` names the LR folders of data.val, then those of data.test. If only one of these two
        roles is named, `lr` names its folders alone; if only data.train is named, those of train.

        Returns:
            For each HR folder its LR folder; "none": LR is made from HR; None: LR is looked for.
        Raises:
            ValueError: more or fewer LR folders are named than there are HR folders.
        """
        count = len(self.folders(role))
        if role == "train" and self.lr_train is not None:
            return _match_folders("data.lr_train", _as_list(self.lr_train), "data.train", count)

        # One word for all: LR is made everywhere, or looked for everywhere.
        given = _as_list(self.lr)
        if given in ([], [FROM_HR]):
            return [FROM_HR if given else None] * count

        # The roles that `lr` speaks of.
        judged: list[RoleName] = [other for other in _JUDGED_ROLES if self.folders(other)]
        if role == "train":
            return (
                [None] * count if judged else _match_folders("data.lr", given, "data.train", count)
            )
        # The list goes on from the folders of val to those of test.
        role_of_each = [other for other in judged for _ in self.folders(other)]
        if len(judged) > 1 and len(given) == len(role_of_each):
            return [
                folder for folder, other in zip(given, role_of_each, strict=True) if other == role
            ]
        return _match_folders(
            "data.lr", given, " and ".join(f"data.{other}" for other in judged), len(role_of_each)
        )

    @property
    def makes_lr(self) -> bool:
        """Whether all LR images are to be made from HR."""
        return self.lr == FROM_HR

    def _check_lr(self) -> None:
        """Refuse LR folders that no folder of HR images is named for."""
        for key, given, is_named in (
            ("lr", self.lr, bool(self.train or self.val or self.test)),
            ("lr_train", self.lr_train, bool(self.train)),
        ):
            if "" in _as_list(given):
                raise ValueError(
                    f"data.{key} is empty; name a folder of LR images, {FROM_HR}, or null"
                )

            if given not in (None, FROM_HR) and not is_named:
                # The way out names the role that such a folder mostly belongs to.
                role = "train" if key == "lr_train" else "test"
                raise ValueError(
                    f"data.{key} goes with a folder of HR images; name it, such as "
                    f"data.{role}=FOLDER"
                )


def _match_folders(key: str, given: list[str], of: str, count: int) -> list[str | None]:
    """Check that there are as many LR folders as HR folders; "none" alone stands for all.

    Raises:
        ValueError: they are more or fewer.
    """
    if given == [FROM_HR]:
        return [FROM_HR] * count
    if len(given) != count:
        raise ValueError(
            f"{key} names {len(given)} folder(s), {of} {count}: name an LR folder, or {FROM_HR}, "
            "for each"
        )
    return [*given]


def _as_list(given: str | list[str] | None) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else given


def _check_share(key: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(
            f"{key} must be from 0 to 1, got {share:g}: it is the share of the training patches "
            "that come from synthetic images"
        )


def _check_weight(weight: float) -> None:
    if not 0 < weight < float("inf"):
        raise ValueError(
            f"weight must be more than 0, got {weight=}; leave the source out instead of weighing "
            "it 0"
        )
