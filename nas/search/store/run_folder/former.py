"""What becomes of what lay in a run directory before: it is kept aside, or removed."""

import contextlib
import itertools
import time
from pathlib import Path

from nas.search.store.run_folder.run_directory import DERIVED, JOURNAL, RETRAINED
from nas.search.store.run_folder.runs import count_rows, load_run
from nas.system.files.made_folders import make_folders, remove_path

# What a search writes, in the order in which it is set aside: what is made of the journal first,
# since tables without a journal are those of a lost one; the configuration last, since without one
# a journal cannot be read.
RESULTS = (*DERIVED, JOURNAL)
FILES = (*RESULTS, "weights", "checkpoints", RETRAINED)
FACTS = ("environment.json", ".hydra")


def has_trial(run: Path) -> bool:
    """Whether a run holds a trial that came to a result.

    The baseline, the ladder and failures are none.
    """
    return any(
        record.number > 0 and record.state == "complete"
        for record in load_run(run, "without tail").records
    )


def set_aside(run: Path) -> str:
    """Make room for other settings; return one line on what became of what the run held.

    What was measured and trained is kept in a folder inside the run, a run directory of its own;
    where nothing was, the files are removed.

    Raises:
        ValueError: it holds a trial by now.
    """
    if has_trial(run):
        raise ValueError(
            f"run={run}: another process has searched in it meanwhile; give another name"
        )
    state = load_run(run, "without tail")
    if not state.records and not state.ladder:
        remove_files(run)
        return f"run={run} held no results: it starts anew with these settings"
    aside = run / f"before-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.mkdir(exist_ok=True)
    for name in (*FILES, *FACTS):
        if (run / name).exists():
            (run / name).replace(aside / name)
    return (
        f"run={run} held no complete trial: it starts anew with these settings; what "
        "it held (ladder, "
        f"failed and rejected architectures) is kept in {aside.name}"
    )


def keep_larger_tables(run: Path, num_rows: int) -> str:
    """Move a run's tables away that hold more rows than its journal gives, which has lost its end.

    Args:
        num_rows: that the journal gives.
    Returns:
        a line on it; empty where no table does.
    """
    num_told = count_rows(run)
    if num_told <= num_rows:
        return ""
    aside = run / f"lost-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.mkdir(exist_ok=True)
    for name in DERIVED:
        if (run / name).exists():
            (run / name).replace(aside / name)
    return (
        f"{JOURNAL} gives {num_rows} rows, and trials.csv held {num_told}: the journal's end is "
        f"lost, and the search goes on from there; the earlier tables are kept in {aside.name}"
    )


def claim_folder(parent: Path, name: str) -> tuple[Path, list[Path]]:
    """Make a new folder that is named by the time; return it, and what `make_folders` returns.

    Two processes that ask within one second get two folders.
    """
    stamp = time.strftime("%Y%m%d_%H%M%S")
    made = make_folders(parent)
    for count in itertools.count(1):
        folder = parent / (f"{stamp}_{name}" if count == 1 else f"{stamp}_{name}_{count}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder, [folder, *made]
    raise AssertionError("unreachable")


def remove_files(run: Path) -> None:
    """Remove what a search wrote into a run's folder."""
    for name in (*FILES, *FACTS, ".lock"):
        remove_path(run / name)
