"""What can only a CUDA GPU show? Every figure and check of it, in one command, the headlines first.

    python benchmarks/gpu/gpu.py [--minutes 8] [--out FOLDER] [--weights FILE] [--only WORD ...]
    python benchmarks/gpu/gpu.py --session 1      # then 2: all that fifteen minutes at a GPU answer

Needs torch and numpy alone beside this checkout (Triton and nvcc where their kernels are to run).
Every section runs in a process of its own with a time limit: one that fails, hangs or is killed
costs itself alone. Rows are printed, and written to gpu-<time>.jsonl as they come, a table of them
to gpu-<time>.md, both in --out, else in $OUT, else in benchmarks/results. Compiled kernels are kept
where XDG_CACHE_HOME and TRITON_CACHE_DIR say, and can be carried. Without a GPU it checks what can
be checked there and says what it could not.

Exit status: 0, 1 where a check is wrong, 2 where a section failed.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.gpu.rows import Outcome, format_table, write_row
from benchmarks.gpu.sections import (
    SECTIONS,
    SESSIONS,
    Section,
    Step,
    explain_absence,
    format_arguments,
)
from benchmarks.gpu.steps import run_step
from benchmarks.shared.arguments import make_parser
from benchmarks.shared.lines import Line, read_lines
from benchmarks.shared.paths import RESULTS
from nas.system.cores import num_cores

MIN_SECONDS = 8.0  # a section is not begun where less is left
MINUTES, SESSION_MINUTES = 8, 9.5  # by default; a session is one call of at most ten


def main() -> int:
    options = _parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the step that runs is then ended too

    # Run what was asked for.
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"gpu-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    is_session = options.session is not None
    minutes = options.minutes or (SESSION_MINUTES if is_session else MINUTES)
    steps = _pick_steps(options.session, options.only)
    run_steps(steps, file, seconds=60 * minutes, weights=options.weights, dry=is_session)

    # What has come of it, as a table.
    rows = read_lines(file)
    text = format_table(f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}", rows)
    file.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\n{file}", flush=True)
    return compute_status(rows)


def _parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"for all of it; by default {MINUTES}, of a session {SESSION_MINUTES}",
    )
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT") or RESULTS), help="a folder"
    )
    parser.add_argument(
        "--weights", type=Path, help="a released SPANV2 checkpoint; else random weights"
    )
    parser.add_argument("--only", nargs="*", help="words in the titles of the sections to run")
    parser.add_argument(
        "--session", choices=SESSIONS, help="the steps of one call at a GPU, tools among them"
    )
    options = parser.parse_args()
    if options.weights is not None and not options.weights.is_file():
        parser.error(f"--weights {options.weights}: there is no such file")
    return options


def _pick_steps(session: str | None, words: Sequence[str] | None) -> list[Step]:
    """Return the steps of a session, or all sections, whose titles hold one of the words."""
    steps = SESSIONS[session] if session is not None else SECTIONS
    return [step for step in steps if not words or any(word in step.title for word in words)]


def run_steps(
    steps: Sequence[Step],
    file: Path,
    *,
    seconds: float,
    weights: Path | None = None,
    dry: bool = False,
) -> None:
    """Run steps one after another and write how each ended.

    A step is ended at its own limit, or at the end of the time for all.

    Args:
        file: of the rows; commands keep their output beside it.
        seconds: for all of them.
        dry: without a GPU nothing runs.
    """
    begin = time.monotonic()
    on_gpu = torch.cuda.is_available()
    for step in steps:
        # A step that cannot run, or has no time left, is a row too: the table says what is missing.
        left = seconds - (time.monotonic() - begin)
        reason = explain_absence(step, on_gpu=on_gpu, dry=dry)
        if reason is None and left < MIN_SECONDS:
            reason = f"the {seconds / 60:g} minutes were over"
        if reason is not None:
            write_row(file, step.title, Outcome(status="not run", reason=reason))
            continue

        is_section = isinstance(step, Section)
        outcome = run_step(
            _make_command(step, file, weights),
            limit_s=min(step.limit_s, left),
            log=None if is_section else _name_log(step, file),
            environment={} if is_section else dict(step.environment),
        )
        write_row(file, step.title, outcome)


def compute_status(rows: Sequence[Line]) -> int:
    """Return the exit status: 2 where a section failed, 1 where a check is wrong, else 0."""
    if any(row["kind"] == "outcome" and row["status"] == "failed" for row in rows):
        return 2
    return int(any(row["kind"] == "check" and row["is_wrong"] for row in rows))


def _make_command(step: Step, file: Path, weights: Path | None) -> list[str]:
    """Return the arguments of the process that runs a step."""
    if not isinstance(step, Section):
        return format_arguments(step, out=file.parent, cores=num_cores())
    runner = Path(__file__).parent / "steps.py"
    command = [sys.executable, str(runner), step.target, "--title", step.title]
    command += ["--file", str(file.resolve())]
    return [*command, "--weights", str(weights.resolve())] if weights is not None else command


def _name_log(step: Step, file: Path) -> Path:
    word = "".join(letter if letter.isalnum() else "-" for letter in step.title)
    return file.with_suffix(f".{word}.txt")


if __name__ == "__main__":
    sys.exit(main())
