"""benchmarks/gpu.py has to start on a machine that has torch and numpy, and no more."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MISSING = (
    "optuna", "hydra", "omegaconf", "yaml", "plotly", "pandas", "PIL", "skimage", "scipy", "rich",
    "safetensors", "onnx", "onnxruntime", "fvcore",
)  # fmt: skip
HERE = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
WITHOUT = f"{HERE}sys.modules.update(dict.fromkeys({MISSING}))\n"


def run(code):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=BENCHMARKS.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_needs_torch_and_numpy_alone():
    assert run(WITHOUT + "import gpu, gpu_checks, gpu_figures, gpu_latency; print('loaded')") == "loaded"


def test_its_networks_are_the_published_ones():
    code = HERE + "from gpu_figures import span, spanv2; from search_spaces import published\n"
    code += "print(span() == published('span'), spanv2() == published('spanv2'))"
    assert run(code) == "True True"
