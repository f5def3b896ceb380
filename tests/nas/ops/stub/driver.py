"""Triton's CUDA driver over a library that stands for libcuda; CPU tensors stand for a GPU's.

For a process of its own, without TRITON_INTERPRET: `install` changes PyTorch, Triton and our choices.
"""

import ctypes
import os
import shutil
import subprocess
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
WORDS = 7 + 24  # of a launch in the log, see libcuda.c
MULTIPROCESSORS = 132  # as an H200 has


def why_not():
    """Why there can be no stub here; None: there can."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    return "no gcc: the stub of libcuda cannot be built" if shutil.which("gcc") is None else None


def build(folder):
    """Build libcuda.so.1 in a folder."""
    headers = Path(find_spec("triton").origin).parent / "backends" / "nvidia" / "include"
    options = ["-O2", "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", f"-I{headers}"]
    subprocess.run(
        ["gcc", *options, "-o", Path(folder) / "libcuda.so.1", FOLDER / "libcuda.c"], check=True
    )


class Stub:
    """The log of launches."""

    def __init__(self, folder):
        self.library = ctypes.CDLL(str(Path(folder) / "libcuda.so.1"), mode=ctypes.RTLD_GLOBAL)
        self.library.stub_count.restype = ctypes.c_long

    def count(self):
        return self.library.stub_count()

    def expect(self, kernel):
        """Log the arguments of the next launches, as those of a compiled kernel."""
        names = kernel.src.fn.arg_names
        constant = {path[0] for path in kernel.src.constants}
        kinds = [kernel.src.signature[name] for i, name in enumerate(names) if i not in constant]
        sizes = [
            8 if kind[0] == "*" or kind.endswith("64") else 4
            for kind in kinds
            if kind != "constexpr"
        ]
        self.library.stub_expect(len(sizes), (ctypes.c_int * len(sizes))(*sizes))

    def launch(self, index=-1):
        """A launch of the log as numbers: grid, threads, shared memory, attributes, function, arguments."""
        words = (ctypes.c_uint64 * WORDS)()
        index = index if index >= 0 else self.count() + index
        self.library.stub_launch(ctypes.c_long(index), words)
        return list(words)


def install(folder, capability=90):
    """Let CPU tensors be a GPU's, whose launches are logged.

    Args:
        folder: where `build` has built.
    """
    os.environ["TRITON_LIBCUDA_PATH"] = str(folder)
    stub = Stub(folder)
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia import driver

    class Driver(driver.CudaDriver):
        def __init__(self):
            self.utils = driver.CudaUtils()
            self.launcher_cls = driver.CudaLauncher
            self.get_current_device = lambda: 0
            self.set_current_device = lambda device: None
            self.get_current_stream = lambda device=0: 0
            self.get_device_capability = lambda device=0: divmod(capability, 10)

        def get_current_target(self):
            return GPUTarget("cuda", capability, 32)

    triton.runtime.driver.set_active(Driver())
    torch.Tensor.is_cuda = True
    torch.cuda.current_device = lambda: 0
    _choose_triton(capability)
    return stub


def _choose_triton(capability):
    from nas.ops import backend
    from nas.ops.conv_act import triton as conv_act
    from nas.ops.span_attention import op  # noqa: F401 - it makes its choices
    from nas.ops.span_attention import triton as span_attention

    class Triton(dict):
        """The choice of `auto` on a GPU with Triton alone."""

        def get(self, key, default=None):
            return "reference" if backend.setting() == "reference" else "triton"

    for choice in backend._CHOICES.values():
        choice.picked = Triton()
    span_attention._guard_device = lambda value: nullcontext()
    conv_act._read_capability = lambda device: capability  # what tilings depend on
    conv_act._count_multiprocessors = lambda device: MULTIPROCESSORS
