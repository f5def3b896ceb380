""".ci/install.sh picks a Python and a build of torch, and mends what was interrupted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.nas.search.sessions import hears_ctrl_c
from tests.packaging.pins import PROJECT, ROOT

NAMES = ["python3", "python3.13", "python3.12", "python3.11"]
INTERPRETER = f"""#!/bin/sh
# A Python of version VERSION: runs code, notes what it is asked to run, makes a venv that holds itself.
case "$1 $2" in
  "-c "*) exec {sys.executable} -c '
import platform, sys
sys.version_info = tuple(map(int, "VERSION".split(".")))
platform.python_version = lambda: "VERSION"
exec(sys.argv[1])' "$2" ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
echo "$@" >>calls.txt
case "$*" in
  "-m pip"*" -e "*) echo ready >pip.txt; eval "$FAKE_PIP" ;;
  "-m uv"*) eval "$FAKE_UV" ;;
esac
"""


class Machine:
    """A folder with the script, and a PATH whose interpreters, uname and nvidia-smi are fakes."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.programs = folder / "checkout", folder / "bin"
        self.programs.mkdir()
        (self.checkout / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci/install.sh", self.checkout / ".ci")
        shutil.copy(ROOT / "constraints.txt", self.checkout)
        for name in NAMES:
            self.add_python(name, "3.9.18")
        self.add_program("uname", "#!/bin/sh\necho Linux\n")
        self.add_program("nvidia-smi", "#!/bin/sh\nexit 9\n")
        self.environment = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "FAKE_PIP": "true",
            "FAKE_UV": "true",
        }

    def add_program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def add_python(self, name: str, version: str) -> None:
        self.add_program(name, INTERPRETER.replace("VERSION", version))

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        command = ["sh", ".ci/install.sh", *arguments]
        environment = self.environment | variables
        return subprocess.Popen(
            command,
            cwd=self.checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=hears_ctrl_c,
        )

    def install(self, *arguments: str, **variables: str) -> tuple[int, list[str]]:
        """Return the exit status and what was printed."""
        process = self.start(*arguments, **variables)
        output, _ = process.communicate()
        return process.returncode, output.splitlines()

    @property
    def calls(self) -> list[str]:
        path = self.checkout / "calls.txt"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def is_unfinished(self) -> bool:
        return (self.checkout / ".venv/.unfinished").exists()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


without_gpu = pytest.mark.skipif(
    any(Path("/dev").glob("nvidia[0-9]*")), reason="this machine has a GPU"
)


@pytest.mark.parametrize("minor", range(9, 17))
def test_install_takes_the_pythons_that_the_project_declares(machine, minor):
    machine.add_python("python3", f"3.{minor}.1")
    status, lines = machine.install()
    assert (status == 0) == (f"3.{minor}.1" in SpecifierSet(PROJECT["requires-python"])), lines


def test_install_says_in_one_line_that_no_python_fits(machine):
    status, (line,) = machine.install()
    assert status == 2
    assert "3.11, 3.12 or 3.13 is needed, but python3 is 3.9.18" in line
    assert not (machine.checkout / ".venv").exists()


def test_install_refuses_the_python_that_was_named(machine):
    machine.add_python("python3", "3.12.1")
    status, (line,) = machine.install(PYTHON="python3.11")
    assert status == 2
    assert "PYTHON=python3.11 is 3.9.18" in line
    status, (line,) = machine.install(PYTHON="/nowhere/python")
    assert status == 2
    assert "PYTHON=/nowhere/python is not there" in line


def test_install_finds_a_python_beside_an_old_one(machine):
    machine.add_python("python3.12", "3.12.1")
    assert machine.install()[0] == 0
    assert "3.12.1" in (machine.checkout / ".venv/bin/python").read_text()


@without_gpu
def test_install_takes_the_cpu_build_without_a_gpu(machine):
    machine.add_python("python3", "3.11.7")
    status, (line,) = machine.install("test")
    assert status == 0
    assert "torch's build 'cpu'" in line
    assert any("uv pip install" in call and "--torch-backend cpu" in call for call in machine.calls)
    assert "install -c .venv/.constraints -e .[test]" in machine.calls[-1]
    constraints = (machine.checkout / ".venv/.constraints").read_text()
    assert "torch==" in constraints
    assert "nvidia-" not in constraints


@without_gpu
def test_install_says_that_pip_takes_torch_when_the_index_does_not_answer(machine):
    machine.add_python("python3", "3.11.7")
    status, lines = machine.install(FAKE_UV="echo no route; exit 1")
    assert status == 0
    assert len(lines) == 2
    assert "CUDA build, 3 GB" in lines[1]
    assert machine.calls[-1].endswith("install -c constraints.txt -e .")


def test_install_fails_when_the_build_that_was_named_is_not_to_be_had(machine):
    machine.add_python("python3", "3.11.7")
    status, lines = machine.install(TORCH="cu126", FAKE_UV="echo no such build >&2; exit 1")
    assert status == 2
    assert "no such build" in lines
    assert "TORCH=cu126 cannot be installed" in lines[-1]
    assert not any(" -e ." in call for call in machine.calls)
    assert not machine.is_unfinished


@pytest.mark.parametrize(
    "program", [("uname", "#!/bin/sh\necho Darwin\n"), ("nvidia-smi", "#!/bin/sh\necho GPU 0\n")]
)
def test_install_leaves_torch_to_pip_on_macos_and_with_a_gpu(machine, program):
    machine.add_python("python3", "3.11.7")
    machine.add_program(*program)
    assert machine.install()[0] == 0
    assert not any("uv" in call for call in machine.calls)


def test_install_starts_afresh_after_an_interrupt(machine):
    machine.add_python("python3", "3.11.7")
    process = machine.start(FAKE_PIP="sleep 60")
    while not (machine.checkout / "pip.txt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode != 0
    assert machine.is_unfinished

    (machine.checkout / ".venv/half").touch()
    status, lines = machine.install()
    assert status == 0
    assert "interrupted" in lines[0]
    assert not (machine.checkout / ".venv/half").exists()
    assert not machine.is_unfinished


def test_install_keeps_the_environment_when_pip_fails(machine):
    machine.add_python("python3", "3.11.7")
    status, lines = machine.install(FAKE_PIP="echo no network; exit 1")
    assert status == 2
    assert "pip could not install" in lines[-1]
    assert not machine.is_unfinished


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_second_search_installs_nothing(machine):
    machine.add_python("python3", "3.11.7")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, machine.checkout)
    for _ in range(2):
        command = ["make", ".venv/.installed-test", ".venv/.installed"]
        done = subprocess.run(
            command, cwd=machine.checkout, env=machine.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert sum(" -e ." in call for call in machine.calls) == 1
    assert "Nothing to be done" in done.stdout or "up to date" in done.stdout
