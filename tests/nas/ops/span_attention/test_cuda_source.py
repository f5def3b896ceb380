"""The CUDA sources with no GPU: what ptxas says of them, and the same sources run on the host."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nas.ops.nvcc import find_nvcc
from nas.ops.span_attention.cuda import FOLDER

HERE = Path(__file__).parent
ARCHITECTURES = (80, 86, 89, 90)
LIMITS = {"Float": 1e-6, "Half": 5e-4, "BFloat": 4e-3}
needs_nvcc = pytest.mark.skipif(find_nvcc() is None, reason="no nvcc: ptxas' report cannot be read")
needs_gcc = pytest.mark.skipif(
    shutil.which("g++") is None, reason="no g++: kernels cannot run on the host"
)


def _usage(source, folder, *defines):
    """(architecture, kernel, stack, spill stores, spill loads) of every kernel of a source."""
    targets = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ARCHITECTURES]
    command = [
        find_nvcc(),
        "-std=c++17",
        "-O3",
        "-Xptxas=-v",
        "-Werror=all-warnings",
        *targets,
        *defines,
        "-c",
        "-o",
        folder / "x.o",
        source,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pattern = r"function '(\S+)' for 'sm_(\d+)'.*?(\d+) bytes stack.*?(\d+) bytes spill.*?(\d+) bytes spill"
    return re.findall(pattern, done.stderr, re.DOTALL)


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "element"),
    [
        (16, "Float"),
        (32, "Float"),
        (48, "Float"),
        (52, "Float"),
        (64, "Float"),
        (32, "Half"),
        (64, "BFloat"),
    ],
)
def test_kernels_neither_spill_nor_use_local_memory(channels, element, tmp_path):
    found = _usage(
        FOLDER / "kernel.cu", tmp_path, f"-DNAS_CHANNELS={channels}", f"-DNAS_ELEMENT={element}"
    )
    assert {int(arch) for _, arch, *_ in found} == set(ARCHITECTURES)
    assert [line for line in found if line[2:] != ("0", "0", "0")] == []


@needs_nvcc
def test_the_element_wise_kernel_neither_spills_nor_uses_local_memory(tmp_path):
    found = _usage(FOLDER / "parameter_free.cu", tmp_path)
    assert len(found) == 6 * len(ARCHITECTURES)
    assert [line for line in found if line[2:] != ("0", "0", "0")] == []


def _run_on_host(folder, channels, element, *flags):
    """Build the host program of a specialisation (None: the element-wise kernel), run it, read its lines."""
    defines = [f"-DNAS_CHANNELS={channels}", f"-DNAS_ELEMENT={element}"] if channels else []
    program = folder / "host"
    command = [
        "g++",
        "-std=c++17",
        "-O1",
        "-g",
        "-pthread",
        "-Wno-unknown-pragmas",
        *flags,
        f"-I{HERE}",
        f"-I{FOLDER}",
    ]
    built = subprocess.run(
        [*command, *defines, "-o", program, HERE / "host_main.cpp"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    fixed = [
        "setarch",
        platform.machine(),
        "-R",
    ]  # ThreadSanitizer's shadow memory has a fixed place
    done = subprocess.run([*fixed, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert len(lines) == 24
    return dict(lines)


@needs_gcc
@pytest.mark.parametrize(
    ("channels", "element"),
    [
        (1, "Float"),
        (3, "Float"),
        (28, "Float"),
        (64, "Float"),
        (32, "Half"),
        (52, "Half"),
        (20, "BFloat"),
        (None, "Float"),
    ],
)
def test_kernels_on_the_host_equal_float64(channels, element, tmp_path):
    found = _run_on_host(tmp_path, channels, element)
    unserved = {name for name, said in found.items() if said == "not served"}
    assert all(name.startswith("rows+1") for name in unserved), unserved  # unaligned: copied before
    wrong = {
        name: said
        for name, said in found.items()
        if name not in unserved and not float(said) <= LIMITS[element]
    }
    assert wrong == {}


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize(("channels", "element"), [(28, "Float"), (20, "Half"), (None, "Float")])
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_kernels_are_clean_under_sanitizers(sanitizer, channels, element, tmp_path):
    if shutil.which("setarch") is None:
        pytest.skip("no setarch: ThreadSanitizer needs a fixed address space")
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    _run_on_host(tmp_path, channels, element, *flags)
