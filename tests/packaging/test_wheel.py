"""The wheel holds all that runs, and works outside the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.nas.search.sessions import arguments
from tests.packaging.pins import ROOT

PACKAGES = ["nas", "search_spaces", "conf"]
TABLE = "evaluator=table space=esr_bench_mini challenge=esr_bench_mini proxy.steps=2000 workers=1 trials=2"


def run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def list_tracked(*folders: str) -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("needs git and a checkout, to know which files belong to the project")
    return [path for path in done.stdout.splitlines() if (ROOT / path).exists()]


def build(kind: str, project: Path) -> Path:
    """Build a wheel or an sdist of a folder, with the setuptools that is installed."""
    folder = project / "dist"
    script = f"from setuptools.build_meta import build_{kind} as build; build({str(folder)!r})"
    run(sys.executable, "-W", "ignore", "-c", script, cwd=project)
    (built,) = folder.iterdir()
    return built.rename(project.parent / built.name)  # the folder stays clean for the next build


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what git tracks, since a build leaves files beside its sources."""
    folder = tmp_path_factory.mktemp("build") / "checkout"
    for path in list_tracked():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout):
    return build("wheel", checkout)


def assert_holds_all(wheel: Path) -> None:
    """Each tracked file of the packages is in the wheel, and nothing else is but its metadata."""
    tracked = {
        path.replace("conf/", "nas/conf/", 1) if path.startswith("conf/") else path
        for path in list_tracked(*PACKAGES)
    }
    assert len(tracked) > 100
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == tracked


def test_wheel_holds_every_tracked_file(wheel):
    assert_holds_all(wheel)


def test_sdist_builds_the_same_wheel(checkout, tmp_path):
    with tarfile.open(build("sdist", checkout)) as archive:
        archive.extractall(tmp_path, filter="data")
    (project,) = tmp_path.iterdir()
    assert_holds_all(build("wheel", project))


@pytest.mark.slow
def test_wheel_works_outside_the_checkout(wheel, pictures, tmp_path):
    # A fresh environment that borrows the dependencies of this one, but not this project.
    venv, folder = tmp_path / "venv", tmp_path / "elsewhere"
    folder.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(
        "\n".join(path for path in sys.path if "site-packages" in path)
    )
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        venv / "bin/python",
        "--disable-pip-version-check",
    ]
    run(*pip, "install", "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=tmp_path)
    imported = run(
        venv / "bin/python",
        "-c",
        "import nas, search_spaces as s; print(nas.__file__, s.__file__)",
        cwd=folder,
    )
    assert all(Path(path).is_relative_to(site) for path in imported.split())

    nas = venv / "bin/nas"
    assert "search" in run(nas, "--help", cwd=folder)
    assert "spanv2" in run(nas, "spaces", cwd=folder)
    run(nas, "search", "run=table", *TABLE.split(), cwd=folder)
    run(nas, "search", "run=brief", *arguments(pictures, trials=2, workers=1), cwd=folder)
    run(nas, "report", "run=brief", cwd=folder)
    assert (folder / "brief/report.html").stat().st_size > 1e6
    assert "PSNR" in run(nas, "evaluate", "arch=brief:knee", cwd=folder)
    assert {path.name for path in folder.iterdir()} == {"brief", "table"}
