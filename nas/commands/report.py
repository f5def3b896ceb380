"""Write trials.csv, front.csv and report.html of a run anew from its journal.

The journal is only read, so this works while a search is writing it.

Examples:
    nas report run=runs/mine
"""

import os
from pathlib import Path

from nas.commands.console import open_console, print_lines
from nas.report.page import render
from nas.report.terminal import summary
from nas.report.words import counts
from nas.search.store.run_directory import rewrite
from nas.search.store.runs import load_run


def run(*, run: str) -> None:
    """Rebuild the files of a run and print its summary."""
    # The drafts' names are this process's own: a search may write the same files at this moment.
    folder = Path(run)
    state = load_run(folder)
    rewrite(folder, state, render, draft_end=f"report-{os.getpid()}")

    console = open_console()
    console.print(summary(state))

    # An empty report is no error: a search may have just begun.
    num_ended = counts(state)
    if not num_ended["complete"] + num_ended["failed"]:
        console.print("No trial has finished yet; the files hold what there is.", highlight=False)
    print_lines(console, [f"Report: {folder / 'report.html'}"])
