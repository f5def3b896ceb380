"""Which backend serves, and what is said about the others."""

import os
import subprocess
import sys
import warnings

import pytest
import torch

import nas.ops.conv_act
import nas.ops.span_attention  # noqa: F401 - before a test hides the list of operators
from nas.ops import backend
from nas.ops.backend import BackendError, BackendWarning, Choice, use, using, why_not

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def choices(monkeypatch):
    """Choices of a test that nobody else sees, and a memory of what was said."""
    monkeypatch.setattr(backend, "_CHOICES", {})
    monkeypatch.setattr(backend, "_SAID", set())
    monkeypatch.setattr(backend, "_SETTING", ["auto"])
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def _works(device, case):
    return None


def _fails(device, case):
    return "no nvcc on the PATH"


@pytest.mark.usefixtures("choices")
def test_auto_takes_the_fastest_that_serves():
    choice = Choice("op", {"cuda": _works, "triton": _works})
    assert choice.pick(GPU, 16) == "cuda"
    assert choice.pick(CPU, 16) == "reference"


@pytest.mark.usefixtures("choices")
def test_auto_falls_through_and_says_why_once():
    choice = Choice("op", {"cuda": _fails, "triton": _works})
    with pytest.warns(
        BackendWarning, match="op: cuda is not used: no nvcc on the PATH; it runs as triton"
    ):
        assert choice.pick(GPU, 16) == "triton"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choice.pick(GPU, 16) == choice.pick(GPU, 32) == "triton"
    assert why_not("cuda", "op", device=GPU, case=16) == "no nvcc on the PATH"
    assert why_not("triton", "op", device=GPU, case=16) is None


@pytest.mark.usefixtures("choices")
def test_auto_never_fails():
    choice = Choice("op", {"cuda": _fails, "triton": _fails})
    with pytest.warns(BackendWarning, match="it runs as reference"):
        assert choice.pick(GPU, None) == "reference"


@pytest.mark.usefixtures("choices")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ImportError("libcuda is broken\nat line 3"),
            r"does not run \(ImportError: libcuda is broken\)",
        ),
        (RuntimeError("no C compiler"), r"does not run \(RuntimeError: no C compiler\)"),
        (AssertionError(), r"does not run \(AssertionError: no message\)"),
    ],
)
def test_what_a_probe_raises_is_a_reason(error, said):
    def raises(device, case):
        raise error

    choice = Choice("op", {"cuda": raises, "triton": _works})
    with pytest.warns(BackendWarning, match=said):
        assert choice.pick(GPU, 16) == "triton"


@pytest.mark.usefixtures("choices")
def test_memory_that_runs_out_in_a_probe_is_no_reason():
    def raises(device, case):
        raise torch.OutOfMemoryError("CUDA out of memory")

    choice = Choice("op", {"cuda": raises})
    with pytest.raises(torch.OutOfMemoryError):
        choice.pick(GPU, 16)
    assert choice.reasons == {}


@pytest.mark.usefixtures("choices")
def test_a_probe_is_asked_once_a_case():
    asked = []
    choice = Choice("op", {"cuda": lambda device, case: asked.append(case)})
    assert [choice.pick(GPU, case) for case in (16, 16, 32)] == ["cuda"] * 3
    use("cuda")
    assert choice.pick(GPU, 16) == "cuda"
    assert asked == [16, 32]


@pytest.mark.usefixtures("choices")
def test_a_backend_by_name_serves_or_raises():
    choice = Choice("op", {"cuda": _fails, "triton": _works})
    with using("triton"):
        assert choice.pick(GPU, 16) == "triton"
        with pytest.raises(
            BackendError,
            match="backend 'triton' cannot serve: it needs CUDA tensors, these are on cpu",
        ):
            choice.pick(CPU, 16)
    with using("reference"):
        assert choice.pick(GPU, 16) == "reference"
    with (
        using("cuda"),
        pytest.raises(BackendError, match="no nvcc on the PATH; use backend 'auto'"),
    ):
        choice.pick(GPU, 16)
    assert backend.setting() == "auto"


@pytest.mark.usefixtures("choices")
def test_a_backend_that_an_operator_lacks_leaves_it_on_auto():
    choice = Choice("op_backward", {"triton": _works})
    with using("cuda"):
        assert choice.pick(GPU, 16) == "triton"
        assert choice.pick(CPU, 16) == "reference"
    assert why_not("cuda", "op_backward", device=GPU) == "op_backward has no cuda kernel"


@pytest.mark.usefixtures("choices")
def test_unknown_names_list_the_known():
    Choice("op", {})
    with pytest.raises(
        ValueError, match="'metal' is not known; known: auto, cuda, triton, reference"
    ):
        use("metal")
    with pytest.raises(ValueError, match="'auto' is not known; known: cuda, triton, reference"):
        why_not("auto", "op")
    with pytest.raises(ValueError, match="operator 'pool' is not known; known: op"):
        why_not("cuda", "pool")


def test_the_operators_answer_to_both_of_their_names():
    said = why_not("cuda", "nas::span_attention", device=CPU)
    assert said == "it needs CUDA tensors, these are on cpu"
    assert why_not("reference", "span_attention") is None


def test_operators_work_without_triton_and_nvcc():
    """Also with the import of Triton forbidden: nothing needs it before a CUDA tensor comes."""
    code = """
import sys
sys.modules["triton"] = None
import torch
from nas.ops.backend import BackendError, using, why_not
from nas.ops.span_attention import span_attention
given = torch.ones(1, 2, 1, 1), torch.ones(1, 2, 1, 1), torch.ones(2, 2, 1, 1), torch.ones(2)
assert span_attention(*given).flatten().tolist() == [6.0, 6.0]
with using("triton"):
    try:
        span_attention(*given)
    except BackendError as error:
        assert "Triton is not installed" in str(error), error
    else:
        sys.exit("no error")
"""
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "1",
        "PATH": "/nowhere",
        "CUDA_HOME": "/nowhere",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_a_broken_triton_is_a_reason(tmp_path):
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("raise ImportError('libcuda is broken')")
    code = """
import torch
from nas.ops.backend import why_not
for op in ("conv_act", "span_attention", "parameter_free_attention_backward"):
    print(why_not("triton", op, device=torch.device("cpu")))
"""
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    reason = "the kernel does not run (ImportError: libcuda is broken)"
    assert done.stdout.splitlines() == [reason] * 3, done.stderr


def test_an_operator_is_found_before_anything_else_loaded_it():
    code = "from nas.ops.backend import why_not; print(why_not('reference', 'conv_act'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("None", "")
