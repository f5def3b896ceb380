"""Write trials.csv, front.csv and report.html of a run anew from its journal.

The journal is only read, so this works while a search is writing it.

Examples:
    nas report run=runs/mine
"""

import os
from pathlib import Path

from rich.console import Console

from nas.report.page import render
from nas.report.terminal import summary
from nas.report.words import counts
from nas.search.store.run_directory import rewrite
from nas.search.store.runs import load_run


def run(*, run: str) -> None:
    """Rebuild the files of a run and print its summary."""
    folder = Path(run)
    state = load_run(folder)
    rewrite(folder, state, render, draft_end=f"report-{os.getpid()}")
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width of its own: nothing is cut
    console.print(summary(state))
    ends = counts(state)
    if not ends["complete"] + ends["failed"]:
        console.print("No trial has finished yet; the files hold what there is.", highlight=False)
    console.print(
        f"Report: {folder / 'report.html'}", markup=False, highlight=False, soft_wrap=True
    )
