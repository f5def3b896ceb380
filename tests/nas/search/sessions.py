"""Real `nas search` processes on a tiny data set, to be killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from nas.search.store.run_folder.run_directory import JOURNAL
from nas.search.store.run_folder.runs import load_run

PATIENCE = 300.0  # seconds, of a machine that others load too


def make_pictures(folder):
    """Four photographs-to-be for training, 128x128, and two for val, 96x96."""
    draw = np.random.default_rng(0)
    for role, count, side in (("train", 4, 128), ("val", 2, 96)):
        (folder / role).mkdir(parents=True)
        for number in range(count):
            coarse = Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(
                folder / role / f"{role}{number}.png"
            )


def arguments(pictures, **changes):
    """A search of 144 networks whose trials take parts of a second."""
    values = {
        "trials": 12, "workers": 2, "ladder_seeds": 1, "device": "cpu", "proxy.steps": 2,
        "space.num_blocks": "[1,2,3]", "space.channels": "[8,12,16]", "space.tail_channels": "[1.0]",
        "space.attention": "[parameter_free,none]", "space.activation": "[silu,relu]",
        "space.skip": "[near,none]", "space.taps": "[all,last]", "latency.sizes": "[[16,16]]",
        "latency.max_seconds": 0.3, "latency.min_rounds": 3, "latency.max_rounds": 3,
        "latency.warmup_seconds": 0, "data": "folder", "data.train": pictures / "train",
        "data.val": pictures / "val",
    } | changes  # fmt: skip
    return [f"{key}={value}" for key, value in values.items()]


def hears_ctrl_c():
    """As a process of a terminal does: what a shell runs in the background ignores it, with its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Session:
    """One `nas search` in a process group of its own."""

    def __init__(self, run: Path, overrides: list[str]) -> None:
        self.run = run
        self.output = run.with_suffix(".txt")
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nas", "search", f"run={run}", *overrides],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=hears_ctrl_c,
                env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            )

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_group()

    def text(self) -> str:
        return self.output.read_text()

    def end(self) -> int:
        """Wait for its exit status."""
        return self.process.wait(PATIENCE)

    def wait_for_journal(self, grown: int) -> bool:
        """Until the journal has grown by so many bytes, or the session has ended; False then."""
        start, deadline = journal_size(self.run), time.monotonic() + PATIENCE
        while journal_size(self.run) < start + grown:
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)
        return True

    def workers(self) -> list[int]:
        """Its worker processes."""
        found = []
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for pid in children.read_text().split():
                with contextlib.suppress(FileNotFoundError):
                    if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                        found.append(int(pid))
        return found

    def signal_group(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.signal_group(signal.SIGKILL)
        self.process.wait()

    def kill_parent(self) -> None:
        """SIGKILL on the one process; its workers have to notice and end by themselves."""
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.signal_group(0)
            except ProcessLookupError:
                return
            assert time.monotonic() < deadline, "workers outlive their search"
            time.sleep(0.05)


def journal_size(run):
    path = run / JOURNAL
    return path.stat().st_size if path.exists() else 0


def recorded(run):
    """Number -> record of everything that has ended, read as `nas report` reads it."""
    if not (run / ".hydra" / "config.yaml").exists():
        return {}
    return {record.number: record for record in load_run(run).records}


def search(run, overrides):
    """Run a session to its end."""
    with Session(run, overrides) as session:
        assert session.end() == 0, session.text()
        return session.text()
