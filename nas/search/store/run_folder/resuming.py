"""Whether a run can go on as it is asked for now: its trials have to keep their meaning."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.data.sets import FINGERPRINT_VERSION
from nas.search.store.journal import find_journal
from nas.search.store.run_folder import former, run_directory
from nas.search.store.run_folder.run_directory import JOURNAL
from nas.search.store.run_folder.runs import load_run
from nas.search.store.run_folder.settings import MAY_CHANGE, keep_meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """What lies in the folder that a search is told to use.

    Attributes:
        resumes: whether it is a run already.
        change: why its trials would not mean the same any more, in words; empty: they would. A run
            with a change holds no complete trial: it starts anew.
    """

    resumes: bool
    change: str = ""


def inspect_folder(folder: Path, config: Mapping[str, Any]) -> Resumption:
    """Look at a run directory before a search begins in it; nothing is written.

    Args:
        config: of the search, as plain values.
    Raises:
        ValueError: it is no run directory of ours, or holds trials of another configuration.
    """
    resumes = run_directory.exists(folder)
    run_directory.check_own_files(folder)

    # Results without a configuration would be searched on as if they were new, and somebody's own
    # weights/ would be taken for the run's, whose files go where a search fails at its start.
    names = (JOURNAL, *former.FILES)  # the journal is named first
    results = [name for name in names if (folder / name).exists()]
    if results and not resumes:
        lost = run_directory.describe_lost_config(folder, results[0])
        raise ValueError(f"{lost}, or give another name")

    find_journal(folder)  # refuses what is no file of the run's own, and a lost one
    change = describe_change(folder, config) if resumes else ""
    refuse_change(folder, change)
    return Resumption(resumes=resumes, change=change)


def compare_conditions(
    folder: Path,
    resumption: Resumption,
    *,
    conditions: Mapping[str, Any],
    fingerprints: Mapping[str, str],
) -> Resumption:
    """Compare a run with the device and the data of today; nothing is written.

    Args:
        resumption: of `inspect_folder`.
        conditions: of the latencies that will be read; empty: any.
        fingerprints: of the images or the table, by role.
    Raises:
        ValueError: they differ, and the run holds a complete trial.
    """
    if not resumption.resumes or resumption.change:
        return resumption

    change = _describe_other_latency(folder, conditions) or _describe_other_data(
        folder, fingerprints
    )
    refuse_change(folder, change)
    return Resumption(resumes=True, change=change)


def refuse_other_data(folder: Path, fingerprints: Mapping[str, str]) -> None:
    """Raise ValueError where images or table are not those that a run was made with."""
    if change := _describe_other_data(folder, fingerprints):
        raise ValueError(change)


def refuse_change(folder: Path, change: str) -> None:
    """Raise ValueError where there is a change and the run holds a trial that came to a result."""
    if change and former.has_trial(folder):
        raise ValueError(change)


def describe_change(folder: Path, config: Mapping[str, Any]) -> str:
    """Say which setting a run was started with otherwise; empty: none, or one that may change."""
    stored = keep_meaning(run_directory.stored_config(folder))
    asked = keep_meaning(config)
    for key in sorted({*stored, *asked}):
        if stored.get(key) != asked.get(key):
            return (
                f"{key}: run={folder} was started with {stored.get(key)}, now it is "
                f"{asked.get(key)}; that would change the meaning of its trials: start a new run "
                f"(only {', '.join(MAY_CHANGE[1:])} may change)"
            )
    return ""


def _describe_other_latency(folder: Path, conditions: Mapping[str, Any]) -> str:
    """Say how today's latencies would differ: one configuration means other sizes elsewhere."""
    latency = next(
        (record.latency for record in load_run(folder, "without tail").records if record.latency),
        None,
    )
    if latency is None:
        return ""
    for name, value in conditions.items():
        if latency.conditions[name] != value:
            return (
                f"latency: the {name} of run={folder} is {latency.conditions[name]}, here it would "
                f"be {value}; runtimes of both never share a front: resume it where it was "
                "started, or start a new run"
            )
    return ""


def _describe_other_data(folder: Path, fingerprints: Mapping[str, str]) -> str:
    """Say which images, or which table, changed since the run was started."""
    stored = run_directory.read_environment(folder).get("data", {})
    for role, fingerprint in fingerprints.items():
        if stored.get(role) == fingerprint:
            continue
        known = stored.get(role, FINGERPRINT_VERSION)
        if role != "table" and not str(known).startswith(FINGERPRINT_VERSION):
            return (
                f"data.{role}: run={folder} was made by an earlier version, whose fingerprint "
                f"({known}) knew names and sizes of images, not what they show; start a "
                f"new run, with warm_start=[{folder}] to begin with its front"
            )
        is_table = role == "table"
        key, what = ("table", "the table") if is_table else (f"data.{role}", "the images")
        return (
            f"{key}: {what} of run={folder} changed since it was started "
            f"(fingerprint {stored.get(role)}, now {fingerprint}); restore it or start a new run"
        )
    return ""
