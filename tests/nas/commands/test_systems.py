"""Commands on systems that lack what Linux has, and in terminals of other encodings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nas as nas_package

TABLE = [
    "evaluator=table", "space=esr_bench_mini", "challenge=esr_bench_mini", "proxy.steps=2000", "trials=2",
]  # fmt: skip
TINY = [
    "trials=1", "ladder_seeds=1", "device=cpu", "proxy.steps=2", "space.num_blocks=[1]",
    "space.channels=[8,12]", "latency.sizes=[[16,16]]", "latency.max_seconds=0.3", "latency.min_rounds=3",
    "latency.max_rounds=3", "latency.warmup_seconds=0",
]  # fmt: skip
WITHOUT_AFFINITY = """
import os
for name in ("sched_getaffinity", "sched_setaffinity"):
    if hasattr(os, name):
        delattr(os, name)
"""
WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None
"""
WITHOUT_POSIX = """
import os, signal, sys
for name in ("fcntl", "msvcrt", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("sched_getaffinity", "sched_setaffinity", "getppid", "getuid", "getloadavg", "O_CLOEXEC"):
    if hasattr(os, name):
        delattr(os, name)
"""
MAIN = """
import sys
from nas.cli.door import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def nas(folder, lacks, *arguments, **environment):
    """Run a command on a system that lacks something; workers lack it too: they run the same file."""
    script = folder / "nas_elsewhere.py"
    script.write_text(lacks + MAIN)
    done = subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"} | environment,
    )
    said = done.stdout + done.stderr
    assert b"Traceback" not in said
    assert b"UserWarning" not in said
    return done.returncode, said


def test_search_trains_on_a_system_without_posix(tmp_path):
    status, said = nas(tmp_path, WITHOUT_POSIX, "search", "run=made", *TINY)
    assert status == 0, said
    assert b"this Python has no file locks" in said
    assert b"1 trials done" in said


def test_trust_and_tabulate_run_on_a_system_without_affinity(tmp_path):
    status, said = nas(tmp_path, WITHOUT_AFFINITY, "search", "run=made", *TABLE, "proxy.steps=500")
    assert status == 0, said
    status, said = nas(tmp_path, WITHOUT_AFFINITY, "trust", "run=made", "members=2")
    assert status == 0, said
    status, said = nas(
        tmp_path, WITHOUT_AFFINITY, "tabulate", "out=nowhere/t.parquet", "ladder=[16x1]"
    )
    assert status == 2, said


def test_a_run_is_searched_by_one_process_where_the_system_has_no_locks(tmp_path):
    status, said = nas(tmp_path, WITHOUT_FCNTL, "search", "run=made", *TABLE)
    assert status == 0, said
    hold = "import time; from pathlib import Path; from nas.search.store.journal import RunLock; "
    hold += "lock = RunLock(Path('made')); print('held', flush=True); time.sleep(600)"
    holder = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_FCNTL + hold],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        status, said = nas(tmp_path, WITHOUT_FCNTL, "search", "run=made", "trials=3")
        assert status == 2
        assert b"another process is searching in this directory" in said
    finally:
        holder.kill()
        holder.communicate()
    status, said = nas(
        tmp_path, WITHOUT_FCNTL, "search", "run=made", "trials=3"
    )  # the dead one's is no lock
    assert status == 0, said


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_search_ends_in_a_terminal_of_any_encoding(tmp_path, encoding):
    status, said = nas(tmp_path, "", "search", "run=made", *TABLE, PYTHONIOENCODING=encoding)
    assert status == 0, said
    assert "PSNR gate (-0.08 dB to the reference)" in said.decode(encoding)
    assert "(−0.08 dB" in (tmp_path / "made" / "report.html").read_text(encoding="utf-8")


def test_files_are_utf8_whatever_the_locale_is(tmp_path):
    """Python tells of every file that is opened in the locale's encoding; other packages' are theirs."""
    status, said = nas(tmp_path, "", "search", "run=made", *TABLE, PYTHONWARNDEFAULTENCODING="1")
    assert status == 0, said
    package = str(Path(nas_package.__file__).parent).encode()
    assert [
        line for line in said.splitlines() if b"EncodingWarning" in line and package in line
    ] == []
