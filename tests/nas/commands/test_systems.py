"""Commands on systems that lack what Linux has, and in terminals of other encodings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nas as nas_package
from tests.nas.search.sessions import arguments

TABLE = [
    "evaluator=table", "space=esr_bench_mini", "challenge=esr_bench_mini", "proxy.steps=2000", "trials=2",
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
    for command in sys.argv[1:]:
        print("status", main(command.split()), flush=True)
"""
# A search beside one that holds the run, and again once that one was killed.
MAIN_TWICE = """
import subprocess, sys
from nas.cli.door import main
if __name__ == "__main__":
    first, hold, again = sys.argv[1:]
    print("status", main(first.split()), flush=True)
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\\n"
    print("status", main(again.split()), flush=True)
    holder.kill()
    holder.communicate()
    print("status", main(again.split()), flush=True)
"""


def nas(folder, lacks, *arguments, script=MAIN, **environment):
    """Run commands on a system that lacks something; workers lack it too: they run the same file.

    Returns:  the exit status of each command, and all that was printed.
    """
    file = folder / "nas_elsewhere.py"
    file.write_text(lacks + script)
    done = subprocess.run(
        [sys.executable, file, *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"} | environment,
    )
    said = done.stdout + done.stderr
    assert b"Traceback" not in said
    assert b"UserWarning" not in said
    statuses = re.findall(rb"^status (\d+)$", done.stdout, re.MULTILINE)
    return [int(status) for status in statuses], said


def test_search_trains_on_a_system_without_posix(pictures, tmp_path):
    tiny = arguments(pictures, trials=1)
    del tiny[tiny.index("workers=2")]  # one, where no device can be locked
    statuses, said = nas(tmp_path, WITHOUT_POSIX, " ".join(["search run=made", *tiny]))
    assert statuses == [0], said
    assert b"this Python has no file locks" in said
    assert b"1 trials done" in said


def test_trust_and_tabulate_run_on_a_system_without_affinity(tmp_path):
    statuses, said = nas(
        tmp_path,
        WITHOUT_AFFINITY,
        " ".join(["search run=made", *TABLE, "proxy.steps=500"]),
        "trust run=made members=2",
        "tabulate out=nowhere/t.parquet ladder=[16x1]",
    )
    assert statuses == [0, 0, 2], said
    assert b"nowhere" in said


def test_a_run_is_searched_by_one_process_where_the_system_has_no_locks(tmp_path):
    hold = "import time; from pathlib import Path; from nas.search.store.journal import lock_run; "
    hold += "lock = lock_run(Path('made')); print('held', flush=True); time.sleep(600)"
    statuses, said = nas(
        tmp_path,
        WITHOUT_FCNTL,
        " ".join(["search run=made", *TABLE]),
        WITHOUT_FCNTL + hold,
        "search run=made trials=3",
        script=MAIN_TWICE,
    )
    assert statuses == [0, 2, 0], said  # a dead one's lock is none
    assert said.count(b"another process is searching in this directory") == 1


def test_search_ends_in_a_poor_terminal_and_writes_utf8_all_the_same(tmp_path):
    """Python tells of every file that is opened in the locale's encoding; other packages' are theirs.

    What other encodings print: tests/nas/system/test_streams.py.
    """
    statuses, said = nas(
        tmp_path,
        "",
        " ".join(["search run=made", *TABLE]),
        PYTHONIOENCODING="ascii",
        PYTHONWARNDEFAULTENCODING="1",
    )
    assert statuses == [0], said
    assert "PSNR gate (-0.08 dB to the reference)" in said.decode("ascii")
    assert "(−0.08 dB" in (tmp_path / "made" / "report.html").read_text(encoding="utf-8")
    package = str(Path(nas_package.__file__).parent).encode()
    assert [
        line for line in said.splitlines() if b"EncodingWarning" in line and package in line
    ] == []
