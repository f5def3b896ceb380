"""What earlier runs know that a new one can use.

These are gains and runtimes that mean the same, and their fronts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.analysis.results import front_table, table
from nas.analysis.run_state import RunState
from nas.search.observer import EarlierResult
from nas.search.store.run_folder.run_directory import read_environment
from nas.search.store.run_folder.runs import load_run
from nas.search.store.run_folder.settings import shown_settings
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """What a new run takes over.

    Attributes:
        results: to learn from.
        fronts: architectures to be tried first.
        notices: what cannot be used, in words.
    """

    results: tuple[EarlierResult, ...]
    fronts: tuple[ArchSpec, ...]
    notices: tuple[str, ...]


def read_earlier(
    runs: Sequence[Path],
    *,
    config: Mapping[str, Any],
    fingerprints: Mapping[str, str],
    conditions: Mapping[str, Any],
    scale: int,
) -> WarmStart:
    """Read earlier runs.

    Args:
        config: of the new run, composed; fingerprints of its images; conditions of its latencies.
    Raises:
        ValueError: one is no run, or of another scale.
    """
    results: list[EarlierResult] = []
    fronts: list[ArchSpec] = []
    notices = []
    for run in runs:
        try:
            state = load_run(run)
        except ValueError as error:
            raise ValueError(f"warm_start: {error}") from None
        if any(record.spec.scale != scale for record in state.records[:1]):
            other = state.records[0].spec.scale
            raise ValueError(f"warm_start: {run} is of scale {other}, here it is {scale}")
        rows = table(state)
        trained = _trained_alike(run, state, config, fingerprints)
        read = [record.latency for record in state.records if record.latency]
        timed = bool(read) and read[0].conditions == dict(conditions)
        top = rows["fidelity"].max()
        for record, row in zip(state.records, rows.to_dict("records"), strict=True):
            is_whole = record.state == "complete" and row["fidelity"] == top
            costs = {"runtime_ratio": row["runtime_ratio"], "runtime_ms": row["runtime_ms"]}
            results.append(
                EarlierResult(
                    spec=record.spec,
                    gain_db=float(row["psnr_gain_db"]) if trained and is_whole else None,
                    costs=costs if timed and record.latency else {},
                )
            )
        members = set(front_table(rows)["number"])
        fronts += [record.spec for record in state.records if record.number in members]
        not_used = [what for what, used in (("PSNR", trained), ("runtimes", timed)) if not used]
        if not_used:
            notices.append(
                f"warm_start: the {' and '.join(not_used)} of {run} were found under other "
                "conditions, are "
                "not learned from; its front is tried first all the same"
            )
    return WarmStart(
        results=tuple(one for one in results if one.gain_db is not None or one.costs),
        fronts=tuple({spec.arch_id: spec for spec in fronts}.values()),
        notices=tuple(notices),
    )


def _trained_alike(
    run: Path, state: RunState, config: Mapping[str, Any], fingerprints: Mapping[str, str]
) -> bool:
    """Whether a PSNR gain of a run means what it will mean in the new one."""
    stored = read_environment(run).get("data", {})
    roles = ("train", "val", "table")
    same_images = all(stored.get(role) == fingerprints.get(role) for role in roles)
    now = shown_settings(config)
    keys = [key for key in {*now, *state.settings} if key.startswith("proxy.")]
    return same_images and all(now.get(key) == state.settings.get(key) for key in keys)
