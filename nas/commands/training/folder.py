"""The folder of a training: what is kept there, and how it is read again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from nas.analysis.training import Trained, TrainingState
from nas.commands.spec_files import read_spec
from nas.commands.training.events import EVENTS
from nas.report.training.page import render_training
from nas.score import Challenge
from nas.search.store.journal import lock_run
from nas.search.store.run_folder import former, run_directory
from nas.search.store.run_folder.resuming import refuse_other_data
from nas.search.store.run_folder.run_directory import CONFIG, write
from nas.search.store.run_folder.runs import drop_targets
from nas.system.file_locks import SoleUse
from nas.system.files.made_folders import make_folders, remove_folders, remove_path
from nas.system.schema.plain_data import read_plain
from nas.system.schema.stored_schema import SchemaError, read_as
from nas.train.run.chronicle import LAST
from nas.train.run.keepsakes import ORIGINALS, SAMPLES
from nas.train.run.log import LOG, read_log

T = TypeVar("T")

ARCH, RESULT, PAGE = "arch.json", "result.json", "report.html"
# Keys that may differ from one session to the next.
MAY_CHANGE = ("run", "device", "per_device", "tensorboard")
FACTS = (ARCH, "environment.json", ".hydra", ".train.lock")  # written before the configuration
FILES = (PAGE, RESULT, LOG, "checkpoints", "weights", SAMPLES, EVENTS, *FACTS)
MAX_SAMPLE_BYTES = 4 * 2**20
PNG = b"\x89PNG\r\n\x1a\n"  # begins every file of that format


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArch:
    """What is trained, as the first session found it.

    Attributes:
        spec: as a mapping.
        arch: as it was typed; a pick of a run may be another architecture by now.
        starts_whole: whether its first weights give whole images, so that no stage has a base.
        teacher: digest of the file that it is distilled from; empty: none.
    """

    spec: dict[str, Any]
    arch: str
    starts_whole: bool
    teacher: str = ""


class TrainingFolder:
    """One session's use of a run directory in which a network is trained.

    Attributes:
        resumes: whether the training was begun before.
    """

    def __init__(self, path: Path | None, *, name: str, top: Path | None = None) -> None:
        """Take a folder: the one that is named, or a new one under runs/.

        Args:
            top: of a front's member: the folder of all of them, by which it goes on.
        """
        self.top = top
        self._made: list[Path] = []
        if path is None:
            path, self._made = former.claim_folder(Path("runs"), name)
        self.path = path
        self.resumes = run_directory.exists(path)
        self._lock: SoleUse | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return has_begun(self.path)

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a folder that holds something else; nothing is written.

        Args:
            config: of this training, as plain values.
        Raises:
            ValueError: it is another training's, a search's, or holds files of somebody else's.
        """
        run_directory.check_own_files(self.path)
        linked = next((name for name in FILES if (self.path / name).is_symlink()), None)
        if linked:
            raise ValueError(f"run={self.path}: {linked} is a link; a run holds its files itself")
        if self.resumes:
            refuse_change(self.path, run_directory.stored_training(self.path), config)
            return

        # A kill may have left what is written first; all else is a lost training's, or not ours.
        names = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
        lost = next((name for name in names if name in FILES and name not in FACTS), None)
        if lost:
            raise ValueError(
                f"run={self.path}: {lost} lies there without {CONFIG}, by which it is read; "
                "restore it, or give another name"
            )
        others = [name for name in names if name not in FACTS]
        if others:
            raise ValueError(
                f"run={self.path}: the folder holds other files ({others[0]}); name a new one"
            )

    def open(
        self,
        *,
        config: Mapping[str, Any],
        choices: Mapping[str, Any],
        overrides: Sequence[str],
        environment: Mapping[str, Any],
        arch: StoredArch,
    ) -> None:
        """Lock the folder, and write what the training is; a second session compares the data.

        Args:
            environment: with the fingerprints of the images by role, as `data`.
        Raises:
            ValueError: the images changed, or another process trains here.
        """
        if self.resumes:
            refuse_other_data(self.path, environment["data"])
        self._made += make_folders(self.path)
        self._lock = lock_run(self.path, "train")
        if run_directory.exists(self.path) != self.resumes:
            raise ValueError(
                f"run={self.path}: another process has trained there meanwhile; the same command "
                "looks again"
            )
        if not self.resumes:
            write(self.path / ARCH, json.dumps(asdict(arch), indent=2) + "\n")
        run_directory.create(
            self.path,
            config=config,
            choices=choices,
            overrides=[typed for typed in overrides if not typed.startswith("run=")],
            environment=environment,
        )

    def close(self) -> None:
        """Unlock the folder; one in which no step was taken is left as it was found."""
        is_ours = self._lock is not None and run_directory.exists(self.path) and not self.resumes
        if is_ours and not self.has_begun:
            for name in FILES:
                remove_path(self.path / name)
        if self._lock:
            self._lock.release()
        if not self.resumes and not self.has_begun:
            remove_folders(self._made)

    def read_arch(self) -> StoredArch:
        """Return what an earlier session trained: a pick of a run may be another one by now."""
        return read_arch(self.path)

    def keep_result(self, result: Trained) -> None:
        write(self.path / RESULT, json.dumps(asdict(result), indent=2) + "\n")

    def write_page(self, state: TrainingState) -> None:
        write(self.path / PAGE, render_training(state))


def has_begun(folder: Path) -> bool:
    """Return whether a training has a checkpoint to go on from."""
    return (folder / LAST).exists()


def read_arch(folder: Path) -> StoredArch:
    """Return what a training trains, as its first session wrote it."""
    return _read_json(StoredArch, folder / ARCH)


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
    return _read_json(Trained, path) if path.is_file() else None


def _read_json(kind: type[T], path: Path) -> T:
    """Read a file that this version writes as an object.

    Raises:
        ValueError: it is damaged or missing; it is named.
    """
    try:
        data = read_plain(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; restore it from a copy") from None
    except SchemaError:
        raise
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return read_as(kind, data, str(path))


def read_samples(folder: Path) -> dict[str, bytes]:
    """Return the pictures of crops by name: originals first, then in the order of their steps."""
    paths = {path.stem: path for path in (folder / SAMPLES).glob("*.png")}
    steps = sorted(
        (name for name in paths if name.startswith("step ")),
        key=lambda name: int("0" + "".join(filter(str.isdigit, name))),
    )
    names = [*(name for name in ORIGINALS if name in paths), *steps]
    pictures = {name: _read_picture(paths[name]) for name in names}
    return {name: data for name, data in pictures.items() if data}


def _read_picture(path: Path) -> bytes:
    """Return a PNG file; empty where it is something else, which a stranger may have put there."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_SAMPLE_BYTES:
        return b""
    data = path.read_bytes()
    return data if data.startswith(PNG) else b""


def _flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration by dotted key, the classes of its objects among them."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value
    return flat
