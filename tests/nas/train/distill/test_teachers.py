"""Teachers from weights, ONNX files and spandrel's architectures, and what bad ones are told."""

import builtins
import functools
import importlib.util
import pickle
import sys
import types

import pytest
import torch
from torch import nn

from nas.losses.pixel import L1
from nas.measure.latency.onnx_session import export_model
from nas.system.missing_torchvision import without_torchvision
from nas.train.distill.imitation import Imitation
from nas.train.distill.teachers import OnnxTeacher, load_teacher
from nas.train.distill.terms import Affinity, Output, Pass
from search_spaces.network import Network, build
from tests.search_spaces.tiny import tiny_spec

CPU = torch.device("cpu")
X = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(5))
has_spandrel = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None,
    reason="spandrel is not installed: pip install 'esr-nas[spandrel]'",
)


def save(module, path):
    torch.save({"params": module.state_dict()}, path)
    return path


def compare(teacher, term):
    """Return a term of a batch between a fresh network and a teacher, and its gradient's size."""
    net = build(tiny_spec())
    imitation = Imitation(teacher, {"term": term})
    image, features = net.forward_with_features(X, imitation.student_layers)
    value = imitation.compare(Pass(image=image, features=features), imitation.ask_teacher(X))[
        "term"
    ]
    value.backward()
    grads = [weight.grad for weight in net.parameters() if weight.grad is not None]
    return value.item(), sum(grad.abs().sum().item() for grad in grads)


def test_teacher_of_a_spec_gives_images_and_features_and_is_frozen(tmp_path):
    spec = tiny_spec(channels=12)
    net = build(spec)
    path = save(net, tmp_path / "wide.pth")
    teacher = load_teacher(path, spec=spec, scale=4, device=CPU)
    assert isinstance(teacher, Network)
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    torch.testing.assert_close(teacher(X), net(X))
    value, pull = compare(
        teacher, Affinity(weight=1.0, layers=[("block1", "block1")], rho="square")
    )
    assert value > 0
    assert pull > 0


def test_teacher_is_recognised_by_its_weights(tmp_path):
    from search_spaces import published

    path = save(build(published("span")), tmp_path / "span.pth")
    teacher = load_teacher(path, spec=None, scale=4, device=CPU)
    assert teacher.spec.arch_id == published("span").arch_id


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net = build(tiny_spec()).eval()
    path = tmp_path_factory.mktemp("onnx") / "teacher.onnx"
    path.write_bytes(export_model(net, torch.rand(1, 3, 16, 16)))
    return net, path


def test_onnx_teacher_gives_the_networks_images(onnx_file):
    net, path = onnx_file
    teacher = load_teacher(path, spec=None, scale=4, device=CPU)
    assert isinstance(teacher, OnnxTeacher)
    # The export takes one image at a time, a batch has more.
    torch.testing.assert_close(teacher(X), net(X).detach(), rtol=1e-4, atol=1e-4)
    value, pull = compare(teacher, Output(loss=L1(weight=1.0)))
    assert value > 0
    assert pull > 0


def test_onnx_teacher_of_another_scale_or_kind_is_refused(onnx_file, tmp_path):
    _, path = onnx_file
    with pytest.raises(
        ValueError, match=r"^teacher: \S+teacher\.onnx makes \(1, 3, 128, 128\) of .* for x2 has to"
    ):
        load_teacher(path, spec=None, scale=2, device=CPU)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"^teacher: \S+bad\.onnx is no model that ONNX Runtime"):
        load_teacher(bad, spec=None, scale=4, device=CPU)
    with pytest.raises(FileNotFoundError, match=r"^teacher: there is no file \S+none\.onnx$"):
        load_teacher(tmp_path / "none.onnx", spec=None, scale=4, device=CPU)


def hide(monkeypatch, *names):
    """Make packages look as if they were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in names else find(name, *rest),
    )


class Foreign(nn.Module):
    """No network that anybody knows."""

    def __init__(self):
        super().__init__()
        self.strange = nn.Conv2d(3, 48, 3)


@pytest.mark.parametrize(("file", "package", "extra"), [
    ("a.onnx", "onnxruntime", r"esr-nas\[onnx\]"), ("a.pth", "spandrel", r"esr-nas\[spandrel\]"),
])  # fmt: skip
def test_missing_extra_is_named_with_its_pip_line(tmp_path, monkeypatch, file, package, extra):
    path = save(Foreign(), tmp_path / file)
    hide(monkeypatch, package)
    with pytest.raises(ValueError, match=rf"^teacher: .*{package}.* pip install '{extra}'$"):
        load_teacher(path, spec=None, scale=4, device=CPU)


@has_spandrel
def test_file_that_nobody_knows_is_refused(tmp_path):
    path = save(Foreign(), tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match=r"^teacher: \S+ holds no network that is known here or to"
    ):
        load_teacher(path, spec=None, scale=4, device=CPU)


class Burglar:
    """Runs code where a pickle of it is read by Python's own reader."""

    def __reduce__(self):
        return builtins.exec, ("import sys; sys.burgled = True",)


@pytest.mark.parametrize("spec", [None, tiny_spec()])
def test_file_that_would_run_code_is_refused_and_runs_none(tmp_path, spec):
    path = tmp_path / "a.pth"
    torch.save({"params": Burglar()}, path, pickle_module=pickle)
    with pytest.raises(ValueError, match=r"^teacher: \S+a\.pth is refused, it holds more than"):
        load_teacher(path, spec=spec, scale=4, device=CPU)
    assert not hasattr(sys, "burgled")


@pytest.mark.parametrize("spec", [tiny_spec(scale=2), None])
def test_teacher_of_another_scale_is_refused(tmp_path, spec):
    from search_spaces import published

    path = save(build(spec or published("span")), tmp_path / "a.pth")
    scale = 4 if spec else 3
    with pytest.raises(
        ValueError,
        match=rf"^teacher: \S+ is of x{spec.scale if spec else 4}, the network that learns is of "
        rf"x{scale}; give a teacher of x{scale}$",
    ):
        load_teacher(path, spec=spec, scale=scale, device=CPU)


@functools.cache
def make_swinir():
    with without_torchvision():
        from spandrel.architectures import SwinIR

    torch.manual_seed(0)
    return SwinIR.SwinIR(
        embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=8, mlp_ratio=2.0, upscale=4,
        upsampler="pixelshuffle",
    ).eval()  # fmt: skip


@has_spandrel
@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # SwinIR's own code
class TestSpandrel:
    def test_swinir_teaches_its_images(self, tmp_path):
        net = make_swinir()
        path = save(net, tmp_path / "swinir.pth")
        teacher = load_teacher(path, spec=None, scale=4, device=CPU)
        torch.testing.assert_close(teacher(X), net(X).clamp(0, 1).detach())
        assert not any(parameter.requires_grad for parameter in teacher.parameters())
        value, pull = compare(teacher, Output(loss=L1(weight=1.0)))
        assert value > 0
        assert pull > 0

    def test_its_layers_are_not_known(self, tmp_path):
        teacher = load_teacher(
            save(make_swinir(), tmp_path / "a.pth"), spec=None, scale=4, device=CPU
        )
        term = Affinity(weight=1.0, layers=[("block1", "block1")], rho="square")
        with pytest.raises(ValueError, match="which has no layers that are known here; distil its"):
            compare(teacher, term)

    def test_another_scale_is_refused(self, tmp_path):
        path = save(make_swinir(), tmp_path / "a.pth")
        with pytest.raises(ValueError, match=r"^teacher: \S+ is of x4, the network .* is of x2"):
            load_teacher(path, spec=None, scale=2, device=CPU)


def test_torchvision_is_stood_for_only_where_it_cannot_be_imported(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])  # not there
    with without_torchvision():
        from torchvision.transforms.functional import InterpolationMode

        assert InterpolationMode is None
    assert not [name for name in sys.modules if name.startswith("torchvision")]

    real = types.ModuleType("torchvision.transforms.functional")
    for name in ("torchvision", "torchvision.transforms", real.__name__):
        monkeypatch.setitem(sys.modules, name, real)
    with without_torchvision():
        assert sys.modules[real.__name__] is real
    assert sys.modules[real.__name__] is real
