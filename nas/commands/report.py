"""Write trials.csv, front.csv and report.html of a search anew from its journal.

Of a training the page is written anew from its log.

The journal is only read, so this works while a search is writing it. Where it or trust.jsonl is
damaged, what can still be read is written into the folder recovered/ of the run, and its own files
stay as they are.

Examples:
    nas report run=runs/mine
"""

import os
from dataclasses import replace
from pathlib import Path

from nas.analysis.run_state import RunState
from nas.cli.exit_status import FAULT, OK
from nas.commands.training.folder import ARCH, PAGE, read_training
from nas.commands.training.front import MEMBERS
from nas.report.page import render
from nas.report.terminal import summary
from nas.report.training.page import render_training
from nas.report.training.words import write_lead
from nas.report.words import counts
from nas.search.store.run_folder.run_directory import holds_training, read_retrained, rewrite, write
from nas.search.store.run_folder.runs import load_run
from nas.system.console import open_console, print_lines
from nas.system.files.record_file import DamagedFileError

RECOVERED = "recovered"  # folder within a run, for what was read of damaged files


def run(*, run: str) -> int:
    """Rebuild the files of a run and print its summary; returns the exit status."""
    folder = Path(run)
    if holds_training(folder):
        return _report_training(folder)
    state, damage = read_whole(folder)

    # Its tables may hold more than what can still be read: they are not written over.
    target = folder / RECOVERED if damage else folder
    # The drafts' names are this process's own: a search may write the same files at this moment.
    rewrite(target, state, render, draft_end=f"report-{os.getpid()}")

    console = open_console()
    console.print(summary(state))

    # An empty report is no error: a search may have just begun.
    num_ended = counts(state)
    if not num_ended["complete"] + num_ended["failed"]:
        print_lines(console, ["No trial has finished yet; the files hold what there is."])
    print_lines(console, [damage] if damage else [])
    print_lines(console, [f"Report: {target / 'report.html'}"])
    return FAULT if damage else OK


def _report_training(folder: Path) -> int:
    """Write the page of a training anew, or those of a front's members; returns the exit status."""
    if (folder / MEMBERS).is_file():
        begun = sorted(path.parent for path in folder.glob(f"*/{ARCH}"))
        return max(map(_report_training, begun), default=OK)
    state = read_training(folder)
    write(folder / PAGE, render_training(state), draft_end=f"report-{os.getpid()}")
    print_lines(open_console(), [write_lead(state), f"Page: {folder / PAGE}"])
    return OK


def read_whole(run: Path) -> tuple[RunState, str]:
    """Read a run and what nas trust found of it, as far as they can be read.

    Returns:
        the run, and in words what of it is damaged; empty where nothing is.
    """
    try:
        state, damage = load_run(run), ""
    except DamagedFileError as error:
        state, damage = load_run(run, "before damage"), str(error)

    # A run is read without its longer trainings, where they are damaged: its notices say so.
    try:
        read_retrained(run)
    except ValueError as error:
        return state, damage or str(error)
    return (replace(state, notices=(*state.notices, damage)) if damage else state), damage
