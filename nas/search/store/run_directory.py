"""A run directory: what lies where, written whole or not at all."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from nas.results import Retrained, RunState, best_score_rows, front_table, table

CONFIG = ".hydra/config.yaml"
OVERRIDES = ".hydra/overrides.yaml"
ENVIRONMENT = "environment.json"
RETRAINED = "trust.json"
NEEDED = ("challenge", "limits", "objectives", "ladder_seeds")  # what tables and pages are made with
MIN_SECONDS = 3.0  # between two rewrites
MAX_SHARE = 0.05  # of the time that rewrites may take: a page of 1,000 trials takes a second and more


def write(path: Path, text: str, *, draft_end: str = "partial") -> None:
    """Replace a file by a rename, so that a reader never sees half of it.

    Args:
        draft_end: ends the name of the draft. A search's is fixed, so a kill leaves at most one behind;
            who writes while a search may be writing needs another.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{draft_end}")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def create(
    run: Path, *, config: Mapping[str, Any], overrides: Sequence[str], environment: Mapping[str, Any]
) -> None:
    """Make a run directory; the configuration is written last, and makes it one."""
    run.mkdir(parents=True, exist_ok=True)
    write(run / ENVIRONMENT, json.dumps(environment, indent=2, sort_keys=True) + "\n")
    write(run / OVERRIDES, yaml.safe_dump(list(overrides), allow_unicode=True))
    write(run / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def exists(run: Path) -> bool:
    return (run / CONFIG).is_file()


def stored_overrides(run: Path) -> list[str]:
    data = yaml.safe_load((run / OVERRIDES).read_text(encoding="utf-8"))
    return [str(override) for override in data or []]


def stored_config(run: Path) -> dict[str, Any]:
    """The configuration of a run.

    Raises:
        ValueError: there is no run in this directory, or its configuration is not whole.
    """
    if not exists(run):
        raise ValueError(f"run={run}: there is no run in this directory; nas search run={run} starts one")
    try:
        config = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"run={run}: {CONFIG} is no YAML: {' '.join(str(error).split())}") from None
    missing = [key for key in NEEDED if not isinstance(config, dict) or key not in config]
    if missing:
        raise ValueError(
            f"run={run}: {CONFIG} lacks {', '.join(missing)}: it was changed since the search; restore it"
        )
    return dict(config)


def read_retrained(run: Path) -> tuple[Retrained, ...]:
    """What was trained longer so far."""
    path = run / RETRAINED
    if not path.is_file():
        return ()
    return tuple(Retrained(**line) for line in json.loads(path.read_text(encoding="utf-8")))


def read_lr_origins(run: Path) -> dict[str, str]:
    """How the LR images of each role were made, in words; empty for a run that does not say."""
    path = run / ENVIRONMENT
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    origins = stored.get("lr") if isinstance(stored, dict) else None
    return {str(role): str(words) for role, words in (origins if isinstance(origins, dict) else {}).items()}


class Files:
    """Rewrites trials.csv, front.csv and report.html as a search goes on, at most every few seconds.

    Args:
        render: a run's state -> its page.
        needed: gives the arch_id of those whose weights are kept beside what can be picked.
    """

    def __init__(
        self, run: Path, render: Callable[[RunState], str], *, needed: Callable[[], set[str]] = set
    ) -> None:
        self.run = run
        self.render = render
        self.needed = needed
        self._written = -math.inf
        self._seconds = 0.0  # that the last rewrite took
        self.num_rewrites = 0
        self.stale = False  # the last update came too soon after a rewrite

    def update(self, state: RunState, *, now: bool = False) -> None:
        start = time.monotonic()
        self.stale = not now and start - self._written < max(MIN_SECONDS, self._seconds / MAX_SHARE)
        if self.stale:
            return
        frame, members = rewrite(self.run, state, self.render)
        picked = {*members["arch_id"], *best_score_rows(frame)["arch_id"][:1]}  # what can be picked
        kept = picked | self.needed()
        self._keep_weights(kept, set(frame["arch_id"]))
        self._written = time.monotonic()
        self._seconds = self._written - start
        self.num_rewrites += 1

    def _keep_weights(self, kept: set[str], known: set[str]) -> None:
        """Drop the weights of what is recorded and not kept; a running trial's are not known yet."""
        for path in (self.run / "weights").glob("*.safetensors"):
            if path.stem in known - kept:
                path.unlink(missing_ok=True)


def rewrite(
    run: Path, state: RunState, render: Callable[[RunState], str], *, draft_end: str = "partial"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write what is made of a state: trials.csv, front.csv, report.html; gives the two tables."""
    frame = table(state)
    members = front_table(frame)
    write(run / "trials.csv", csv(frame), draft_end=draft_end)
    write(run / "front.csv", csv(members), draft_end=draft_end)
    write(run / "report.html", render(state), draft_end=draft_end)
    return frame, members


def csv(frame: pd.DataFrame) -> str:
    """CSV text whose floats read back equal."""
    return frame.to_csv(index=False, lineterminator="\n")
