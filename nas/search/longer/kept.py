"""Longer trainings of the ladder that are known: those that ship, and those in the user's cache.

One is found by all that its result follows from: images, proxy, parent, scale and kind of device.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.analysis.ladder import LadderRun
from nas.analysis.lasting import FACTOR, list_readings
from nas.search.longer.base import KnownRun
from nas.system.files.drafts import replaced
from nas.system.files.user_cache import private_cache
from nas.system.schema.stored_schema import parse_as
from nas.train.parent import ParentFile
from nas.train.proxy import ProxyConfig

TRAINING_VERSION = 1  # counts up with every change of what a proxy training comes to
SHIPPED = Path(__file__).with_name("shipped.jsonl")  # benchmarks/proxy/longer_ladder.py makes it
MAX_BYTES = 2**20  # of a file that is read
# What reading a damaged file raises.
DAMAGE = (OSError, ValueError, TypeError, KeyError, RecursionError)

Key = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """A longer training as it is kept.

    Attributes:
        key: all that it follows from, as `make_key` gives it for its size.
        check: hash of key and run; a file that was changed is none.
    """

    key: Mapping[str, Any]
    run: LadderRun
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLadder:
    """The longer trainings of a search that measures and trains.

    Attributes:
        key: all that they follow from but the size, as `make_key` gives it.
        steps: of each.
    """

    key: Key
    steps: int

    def find(self, size: str) -> KnownRun | None:
        """Return the training of a size that ships, or that an earlier search kept."""
        key = {**self.key, "size": size}
        for kept in read_shipped():
            if kept.key == key:
                return KnownRun(run=kept.run, origin="shipped with this package")
        # Whatever is wrong with a file that is kept, the training is made anew.
        try:
            path = _find_file(key)
            kept = parse_as(KeptRun, _read_text(path))
        except DAMAGE:
            return None
        if kept.key != key or kept.check != hash_run(kept.key, kept.run) or kept.run.rung != size:
            return None
        return KnownRun(run=kept.run, origin=f"kept by an earlier search in {path.parent}")

    def keep(self, run: LadderRun) -> str:
        """Keep a training in the user's cache; return why it cannot be, empty: it is."""
        key = {**self.key, "size": run.rung}
        try:
            with replaced(_find_file(key)) as draft:
                draft.write_text(write_run(key, run), encoding="ascii")
        except (OSError, ValueError) as error:
            return f"the longer training of {run.rung} is not kept for later searches: {error}"
        return ""


def make_key(
    *,
    fingerprints: Mapping[str, str],
    proxy: ProxyConfig,
    parent: ParentFile | None,
    scale: int,
    device_type: str,
) -> dict[str, Any]:
    """Return all that a longer training of the ladder follows from, but for the size.

    Args:
        fingerprints: of the images, by role; those of train and val count.
        proxy: of the search, not lengthened.
        parent: the network whose weights candidates start from.
        device_type: "cpu" or "cuda"; one kind differs from itself by rounding alone.
    """
    start = None
    if parent is not None:
        digest = hashlib.sha256(_read_bytes(parent.weights)).hexdigest()
        start = {"arch_id": parent.spec.arch_id, "weights": digest}
    key = {
        "version": TRAINING_VERSION,
        "factor": FACTOR,
        "readings": list_readings(proxy.steps),
        "scale": scale,
        "train": fingerprints["train"],
        "val": fingerprints["val"],
        "proxy": asdict(proxy),
        "parent": start,
        "device": device_type,
    }
    plain: dict[str, Any] = json.loads(json.dumps(key))  # as it is read back: lists, not tuples
    return plain


def write_run(key: Key, run: LadderRun) -> str:
    """Return a training as one line of JSON, with its key and a check of both."""
    kept = {"key": dict(key), "run": asdict(run), "check": hash_run(key, run)}
    return json.dumps(kept, allow_nan=False, sort_keys=True)


def read_shipped() -> tuple[KeptRun, ...]:
    """Return the trainings that ship with this package; none where their file is damaged."""
    try:
        lines = _read_text(SHIPPED).splitlines()
        return tuple(parse_as(KeptRun, line) for line in lines)
    except DAMAGE:
        return ()


def hash_run(key: Key, run: LadderRun) -> str:
    """Return a hash of a training and of all that it follows from."""
    text = json.dumps([dict(key), asdict(run)], allow_nan=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _find_file(key: Key) -> Path:
    """Return the file in the user's cache for a training.

    Raises:
        OSError, ValueError: there is no cache that this user alone writes.
    """
    name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:32]
    return private_cache("ladders") / f"{name}.json"


def _read_text(path: Path) -> str:
    return _read_bytes(path, MAX_BYTES).decode("ascii")


def _read_bytes(path: Path, most: int = -1) -> bytes:
    with path.open("rb") as file:
        return file.read(most)
