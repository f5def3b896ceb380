"""Everything that only a CUDA GPU can show, in one command: the headline figures first, each as it comes.

    python benchmarks/gpu/gpu.py [--minutes 8] [--out FOLDER] [--weights spanv2.pth] [--only WORD ...]
    python benchmarks/gpu/gpu.py --session 1      # then 2: all that fifteen minutes at a GPU should answer

Needs torch and numpy alone beside this checkout (Triton and nvcc where their kernels are to run). Every
section runs in a process of its own with a time limit: one that fails, hangs or is killed costs itself alone.
Rows are printed, and written to gpu-<time>.jsonl as they come, a table of them to gpu-<time>.md, both in
--out, else in $OUT, else in benchmarks/results. Compiled kernels are kept where XDG_CACHE_HOME and
TRITON_CACHE_DIR say, and can be carried. Without a GPU it checks what can be checked there and says what it
could not.

Exit status: 0, 1 where a check is wrong, 2 where a section failed.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.gpu.rows import Outcome, read, table, write
from benchmarks.gpu.sections import SECTIONS, SESSIONS, Section, Step, arguments_of, why_not
from benchmarks.gpu.steps import run_step
from benchmarks.shared.paths import RESULTS
from nas.system.cores import num_cores

LEAST_S = 8.0  # a section is not begun where less is left


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, help="for all of it; by default 8, of a session 9.5"
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the step that runs is then ended too

    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"gpu-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    steps = SESSIONS[options.session] if options.session else SECTIONS
    minutes = options.minutes or (9.5 if options.session else 8)
    run_all(
        [
            step
            for step in steps
            if not options.only or any(word in step.title for word in options.only)
        ],
        file,
        seconds=60 * minutes,
        weights=options.weights,
        dry=options.session is not None,
    )
    rows = read(file)
    text = table(f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}", rows)
    file.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\n{file}", flush=True)
    return status_of(rows)


def run_all(
    steps: list[Step], file: Path, *, seconds: float, weights: Path | None = None, dry: bool = False
) -> None:
    """Run steps one after another, each until its limit or the end of the time, and write how each ended.

    Args:
        file: of the rows; commands keep their output beside it.
        seconds: for all of them.
        dry: without a GPU nothing runs.
    """
    begin = time.monotonic()
    on_gpu = torch.cuda.is_available()
    for step in steps:
        left = seconds - (time.monotonic() - begin)
        reason = why_not(step, on_gpu=on_gpu, dry=dry)
        if reason is None and left < LEAST_S:
            reason = f"the {seconds / 60:g} minutes were over"
        if reason is not None:
            write(file, step.title, Outcome(status="not run", reason=reason))
            continue
        log = None if isinstance(step, Section) else _log_of(step, file)
        environment = {} if isinstance(step, Section) else dict(step.environment)
        outcome = run_step(
            _command(step, file, weights),
            limit_s=min(step.limit_s, left),
            log=log,
            environment=environment,
        )
        write(file, step.title, outcome)


def status_of(rows: list[dict[str, object]]) -> int:
    """The exit status of a run: 2 where a section failed, 1 where a check is wrong, else 0."""
    if any(row["kind"] == "outcome" and row["status"] == "failed" for row in rows):
        return 2
    return int(any(row["kind"] == "check" and row["is_wrong"] for row in rows))


def _command(step: Step, file: Path, weights: Path | None) -> list[str]:
    if not isinstance(step, Section):
        return arguments_of(step, out=file.parent, cores=num_cores())
    runner = Path(__file__).parent / "steps.py"
    command = [
        sys.executable,
        str(runner),
        step.target,
        "--title",
        step.title,
        "--file",
        str(file.resolve()),
    ]
    return [*command, "--weights", str(weights.resolve())] if weights is not None else command


def _log_of(step: Step, file: Path) -> Path:
    word = "".join(letter if letter.isalnum() else "-" for letter in step.title)
    return file.with_suffix(f".{word}.txt")


if __name__ == "__main__":
    sys.exit(main())
