"""The folder of a training: what is kept there, and how it is read again."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nas.analysis.training import Trained, TrainingState
from nas.commands.spec_files import read_spec
from nas.report.training.page import render_training
from nas.score import Challenge
from nas.search.store.journal import lock_run
from nas.search.store.run_folder import former, run_directory
from nas.search.store.run_folder.resuming import refuse_other_data
from nas.search.store.run_folder.run_directory import CONFIG, write
from nas.search.store.run_folder.runs import drop_targets
from nas.system.file_locks import SoleUse
from nas.system.files.made_folders import make_folders, remove_folders
from nas.system.schema.plain_data import read_plain
from nas.system.schema.stored_schema import read_as
from nas.train.run.keepsakes import ORIGINALS, SAMPLES
from nas.train.run.log import LOG, read_log
from nas.train.run.session import LAST
from search_spaces.spec import ArchSpec

ARCH, RESULT, PAGE = "arch.json", "result.json", "report.html"
MAY_CHANGE = ("run", "device")  # keys that may differ from one session to the next
FILES = (PAGE, RESULT, ARCH, LOG, "checkpoints", "weights", SAMPLES, "environment.json", ".hydra")


class TrainingFolder:
    """One session's use of a run directory in which a network is trained.

    Attributes:
        resumes: whether the training was begun before.
    """

    def __init__(self, path: Path | None, *, name: str) -> None:
        """Take a folder: the one that is named, or a new one under runs/."""
        self._made: list[Path] = []
        if path is None:
            path, self._made = former.claim_folder(Path("runs"), name)
        self.path = path
        self.resumes = run_directory.exists(path)
        self._lock: SoleUse | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.path / LAST).exists()

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a folder that holds something else; nothing is written.

        Args:
            config: of this training, as plain values.
        Raises:
            ValueError: it is another training's, a search's, or holds files of somebody else's.
        """
        run_directory.check_own_files(self.path)
        if self.resumes:
            refuse_change(self.path, run_directory.stored_training(self.path), config)
            return
        others = [name for name in (*former.FILES, *FILES) if (self.path / name).exists()]
        if others:
            raise ValueError(
                f"run={self.path}: {others[0]} lies there without {CONFIG}, by which it is read; "
                "restore it, or give another name"
            )

    def open(
        self,
        *,
        config: Mapping[str, Any],
        choices: Mapping[str, Any],
        overrides: Sequence[str],
        environment: Mapping[str, Any],
        arch: Mapping[str, Any],
    ) -> None:
        """Lock the folder, and write what the training is; a second session compares the data.

        Args:
            environment: with the fingerprints of the images by role, as `data`.
            arch: the spec and where it comes from.
        Raises:
            ValueError: the images changed, or another process trains here.
        """
        if self.resumes:
            refuse_other_data(self.path, environment["data"])
        self._made += make_folders(self.path)
        self._lock = lock_run(self.path, "train")
        if not self.resumes:
            write(self.path / ARCH, json.dumps(arch, indent=2) + "\n")
        run_directory.create(
            self.path,
            config=config,
            choices=choices,
            overrides=[typed for typed in overrides if not typed.startswith("run=")],
            environment=environment,
        )

    def close(self) -> None:
        """Unlock the folder; one in which no step was taken is left as it was found."""
        if self._lock:
            self._lock.release()
        if self.resumes or self.has_begun:
            return
        if self._lock:
            for name in (*FILES, ".train.lock"):
                _delete(self.path / name)
        remove_folders(self._made)

    def read_arch(self) -> dict[str, Any]:
        """Return what an earlier session trained: a pick of a run may be another one by now."""
        found = read_plain(self.path / ARCH)
        return read_as(dict[str, Any], found, str(self.path / ARCH))

    def keep_result(self, result: Trained) -> None:
        write(self.path / RESULT, json.dumps(asdict(result), indent=2) + "\n")

    def write_page(self, state: TrainingState) -> None:
        write(self.path / PAGE, render_training(state))


def refuse_change(folder: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to go on with a training under another configuration.

    Raises:
        ValueError: a key differs that may not.
    """
    before, now = _flatten(stored), _flatten(asked)
    for key in sorted({*before, *now}):
        if key.partition(".")[0] in MAY_CHANGE or before.get(key) == now.get(key):
            continue
        raise ValueError(
            f"{key}: run={folder} was started with {before.get(key)}, now it is {now.get(key)}; "
            f"its steps would not be one training: start a new run (only {', '.join(MAY_CHANGE)} "
            "may change)"
        )


def read_training(folder: Path) -> TrainingState:
    """Read a training from its folder, as far as it has come.

    Raises:
        ValueError: there is none, or what lies there is damaged.
    """
    config = run_directory.stored_training(folder)
    stages, readings = read_log(folder)
    choices = run_directory.stored_choices(folder)
    return TrainingState(
        name=folder.resolve().name,
        spec=read_spec(folder / ARCH),
        recipe=choices.get("recipe", "of its own"),
        challenge=read_as(Challenge, drop_targets(config["challenge"]), str(folder / CONFIG)),
        stages=stages,
        readings=readings,
        settings={key: value for key, value in config.items() if value is not None},
        samples=read_samples(folder),
        notices=run_directory.read_environment(folder).get("notices", []),
        result=read_result(folder),
    )


def refresh(state: TrainingState, folder: Path) -> TrainingState:
    """Return a state with what was trained since."""
    stages, readings = read_log(folder)
    return replace(
        state,
        stages=stages,
        readings=readings,
        samples=read_samples(folder),
        result=read_result(folder),
    )


def read_result(folder: Path) -> Trained | None:
    """Return what a training came to; None while it trains."""
    path = folder / RESULT
    return read_as(Trained, read_plain(path), str(path)) if path.is_file() else None


def read_samples(folder: Path) -> dict[str, bytes]:
    """Return the pictures of crops by name: originals first, then in the order of their steps."""
    paths = {path.stem: path for path in (folder / SAMPLES).glob("*.png")}
    steps = sorted(
        (name for name in paths if name.startswith("step ")),
        key=lambda name: int("0" + "".join(filter(str.isdigit, name))),
    )
    names = [*(name for name in ORIGINALS if name in paths), *steps]
    return {name: paths[name].read_bytes() for name in names}


def read_recorded_spec(arch: Mapping[str, Any]) -> ArchSpec:
    """Return the spec of what `read_arch` gives."""
    return ArchSpec.from_dict(arch["spec"])


def _flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration by dotted key, the classes of its objects among them."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value
    return flat


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
