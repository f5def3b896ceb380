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


def _run_nvcc(*options):
    """Run nvcc as the launcher does, warnings being errors, and return what it says."""
    command = [find_nvcc(), "-std=c++17", "-O3", "-Xptxas=-v", "-Werror=all-warnings", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def _usage(source, folder, *defines):
    """(architecture, kernel, stack, spill stores, spill loads) of every kernel of a source.

    The front end runs once for all architectures: its PTX is the same for each, as a test holds.
    """
    machines = ",".join(f"sm_{arch}" for arch in ARCHITECTURES)
    target = f"-gencode=arch=compute_{ARCHITECTURES[0]},code=[{machines}]"
    report = _run_nvcc(target, *defines, "-c", "-o", folder / "x.o", source)
    pattern = r"function '(\S+)' for 'sm_(\d+)'.*?(\d+) bytes stack.*?(\d+) bytes spill.*?(\d+) bytes spill"
    return re.findall(pattern, report, re.DOTALL)


@needs_nvcc
def test_every_architecture_has_the_same_ptx(tmp_path):
    """bfloat16 is the element for which CUDA's own headers differ most by architecture."""
    defines = ("-DNAS_CHANNELS=16", "-DNAS_ELEMENT=BFloat")
    texts = set()
    for arch in ARCHITECTURES:
        path = tmp_path / f"{arch}.ptx"
        _run_nvcc(f"-arch=compute_{arch}", *defines, "-ptx", "-o", path, FOLDER / "kernel.cu")
        text = path.read_text()
        assert f".target sm_{arch}" in text
        texts.add(text.replace(f".target sm_{arch}", ".target"))
    assert len(texts) == 1
    sources = [path.read_text() for path in FOLDER.glob("*.cu*")]
    assert len(sources) >= 4
    assert [text for text in sources if "__CUDA_ARCH__" in text] == []


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


def _check_errors(lines, element):
    """Hold the host program's errors to the element's limit; maps that are not served are few."""
    unserved = {name for name, error in lines.items() if error == "not served"}
    assert all(name.startswith("rows+1") for name in unserved), unserved  # unaligned: copied before
    wrong = {
        name: error
        for name, error in lines.items()
        if name not in unserved and not float(error) <= LIMITS[element]
    }
    assert wrong == {}


@needs_gcc
@pytest.mark.parametrize(
    ("channels", "element"),
    [(1, "Float"), (3, "Float"), (64, "Float"), (32, "Half"), (52, "Half"), (20, "BFloat")],
)
def test_kernels_on_the_host_equal_float64(channels, element, tmp_path):
    """28 channels and the element-wise kernel: with the sanitizers, below."""
    _check_errors(_run_on_host(tmp_path, channels, element), element)


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize(("channels", "element"), [(28, "Float"), (20, "Half"), (None, "Float")])
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_kernels_are_clean_under_sanitizers(sanitizer, channels, element, tmp_path):
    if shutil.which("setarch") is None:
        pytest.skip("no setarch: ThreadSanitizer needs a fixed address space")
    flags = ["-g", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    _check_errors(_run_on_host(tmp_path, channels, element, *flags), element)
