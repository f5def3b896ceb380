"""Tests that a GPU machine runs load there: it has PyTorch, NumPy and pytest, and little else."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
GPU_TESTS = (
    "tests/nas/deploy/test_runner.py",
    "tests/nas/deploy/test_graphs.py",
    "tests/nas/ops/conv_act/test_gpu.py",
    "tests/nas/ops/span_attention/test_gpu.py",
)
# A plugin of pytest's that hides every distribution save three, what these require, and our own.
HIDING = """
import importlib.util
import re
import sys
from importlib import metadata



def canonical(name):
    return re.sub("[-_.]+", "-", name).lower()


shown, waiting = {"esr-nas"}, ["torch", "numpy", "pytest"]
while waiting:
    name = canonical(waiting.pop())
    if name not in shown:
        shown.add(name)
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting += [re.match("[A-Za-z0-9_.-]+", line)[0] for line in needed if "extra ==" not in line]
hidden = {
    module
    for module, owners in metadata.packages_distributions().items()
    if not shown & {canonical(owner) for owner in owners} and not module.startswith("_")
}


class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is hidden", name=name)


assert hidden.isdisjoint({"torch", "numpy", "pytest"})
assert "omegaconf" in hidden or importlib.util.find_spec("omegaconf") is None
sys.meta_path.insert(0, Hide())
"""


def test_gpu_tests_load_with_torch_numpy_and_pytest_alone(tmp_path):
    (tmp_path / "hiding.py").write_text(HIDING)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    options = "-p hiding -p no:cacheprovider --collect-only -q"
    command = [sys.executable, "-m", "pytest", *options.split()]
    done = subprocess.run(
        [*command, *GPU_TESTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout
    assert "test_runner_on_a_gpu_is_as_exact_as_its_precision" in done.stdout
