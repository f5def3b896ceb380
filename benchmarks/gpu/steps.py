"""What does one section give? A step in a process of its own: a fault in it costs itself alone.

    python benchmarks/gpu/steps.py MODULE:FUNCTION --title WORDS --file OUT.jsonl

runs one section here, prints its rows and adds them to a file; `run_step` starts such a process, or
any other command.
"""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.gpu.rows import Fact, Given, Measure, Outcome, write_row
from benchmarks.shared.arguments import make_parser
from benchmarks.shared.paths import ROOT

KILL_WAIT_S = 5.0
LINES_KEPT = 20  # of a command's output, to explain how it ended


def run_step(
    command: Sequence[str],
    *,
    limit_s: float,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a command until it ends or its time is up, and return how it ended.

    Its output goes to ours, and to a log, as it comes. The command leads a group of processes,
    which ends with it: a trainer or a compiler that it started does not go on beside the next step.
    """
    begin = time.monotonic()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, **(environment or {})},
        cwd=ROOT,
    )
    assert child.stdout is not None

    # Its output is copied by a thread: a command that hangs must not hang us.
    lines: list[str] = []
    echo = threading.Thread(target=_copy_output, args=(child.stdout, lines, log), daemon=True)
    echo.start()

    timed_out = False
    try:
        child.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        _kill_group(child)
        echo.join(timeout=KILL_WAIT_S)

    seconds = time.monotonic() - begin
    if timed_out:
        return Outcome(
            status="failed", seconds=seconds, reason=f"over its limit of {limit_s:.0f} s"
        )
    if child.returncode == 0:
        return Outcome(status="done", seconds=seconds)
    return Outcome(status="failed", seconds=seconds, reason=_explain_end(child.returncode, lines))


def _copy_output(source: IO[str], lines: list[str], log: Path | None) -> None:
    """Print and log what a command says, and keep its last lines in `lines`."""
    with source, log.open("w", encoding="utf-8") if log else open(os.devnull, "w") as kept:
        for line in source:
            print(line, end="", flush=True)
            kept.write(line)
            kept.flush()
            lines.append(line.strip())
            del lines[:-LINES_KEPT]


def _kill_group(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of it has ended
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(
        subprocess.TimeoutExpired
    ):  # it waits inside the GPU's driver: the others go on
        child.wait(timeout=KILL_WAIT_S)


def _explain_end(code: int, lines: Sequence[str]) -> str:
    """Return the signal that ended a process, or its exit status and the last line it printed."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    last = next((line for line in reversed(lines) if line), "it says nothing")
    return f"exit status {code}: {last}"


def run_section(target: str, title: str, file: Path, given: Given) -> None:
    """Run one section in this process, and write its rows as they come.

    Args:
        target: module:function of what gives the rows.
    """
    module, _, name = target.partition(":")
    measure: Measure = getattr(importlib.import_module(module), name)

    # A section that needs torch has loaded it by now; clocks before and after tell of throttling.
    before = _read_device_state()
    for row in measure(given):
        write_row(file, title, row)
    if before is not None:
        write_row(
            file,
            title,
            Fact(name="device", value={"before": before, "after": _read_device_state()}),
        )


def _read_device_state() -> dict[str, object] | None:
    """Return clocks, temperature and throttling of the GPU now.

    None without a GPU, or where torch is not loaded.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    from nas.measure.surroundings import surroundings

    return surroundings(torch.device("cuda", 0))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("target", help="module:function")
    parser.add_argument("--title", required=True, help="of the section, in its rows")
    parser.add_argument("--file", type=Path, required=True, help="to which rows are added")
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    run_section(options.target, options.title, options.file, Given(weights=options.weights))


if __name__ == "__main__":
    main()
