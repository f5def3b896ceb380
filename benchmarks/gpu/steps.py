"""One step of a run in a process of its own: what raises, hangs or is killed costs itself alone.

    python benchmarks/gpu/steps.py benchmarks.gpu.figures:attention_bandwidth --title x --file out.jsonl

runs one section here and adds its rows to a file; `run_step` starts such a process, or any other command.
"""

import argparse
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

from benchmarks.gpu.rows import Fact, Given, Measure, Outcome, write
from benchmarks.shared.paths import ROOT

KILL_WAIT_S = 5.0


def run_step(
    command: Sequence[str],
    *,
    limit_s: float,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a command until it ends or its time is up; its output goes to ours, and to a log, as it comes.

    It is the leader of a group of processes, which ends with it: a trainer or a compiler that it started
    does not go on beside the next step.
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
    lines: list[str] = []
    echo = threading.Thread(target=_echo, args=(child.stdout, lines, log), daemon=True)
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
    return Outcome(status="failed", seconds=seconds, reason=_reason(child.returncode, lines))


def _echo(source: IO[str], lines: list[str], log: Path | None) -> None:
    with source, log.open("w", encoding="utf-8") if log else open(os.devnull, "w") as kept:
        for line in source:
            print(line, end="", flush=True)
            kept.write(line)
            kept.flush()
            lines.append(line.strip())
            del lines[:-20]


def _kill_group(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of it has ended
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(
        subprocess.TimeoutExpired
    ):  # it waits inside the GPU's driver: the others go on
        child.wait(timeout=KILL_WAIT_S)


def _reason(code: int, lines: Sequence[str]) -> str:
    """The last line that was printed, or the signal that ended the process."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    last = next((line for line in reversed(lines) if line), "it says nothing")
    return f"exit status {code}: {last}"


def serve(target: str, title: str, file: Path, given: Given) -> None:
    """Run one section in this process; `target` is module:function, which gives rows one after another."""
    module, _, name = target.partition(":")
    measure: Measure = getattr(importlib.import_module(module), name)
    before = _state()
    for row in measure(given):
        write(file, title, row)
    if before is not None:
        write(file, title, Fact(name="device", value={"before": before, "after": _state()}))


def _state() -> dict[str, object] | None:
    """Clocks, temperature and throttling of the GPU now; None without one, or where torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    from nas.measure.surroundings import surroundings

    return surroundings(torch.device("cuda", 0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("target", help="module:function")
    parser.add_argument("--title", required=True)
    parser.add_argument("--file", type=Path, required=True, help="to which rows are added")
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    serve(options.target, options.title, options.file, Given(weights=options.weights))


if __name__ == "__main__":
    main()
