import subprocess
import sys

import numpy as np
import pytest
import torch

from nas.export.bundle import export
from nas.export.mpv import exporter as mpv
from nas.export.mpv import shader
from nas.export.mpv.exporter import MpvExporter
from nas.export.mpv.read import LEVELS, render
from nas.export.mpv.scaling import scale_features
from search_spaces import build, published
from tests.nas.export.networks import CASES, make_bundle, make_draft, make_span

SIZES = ((19, 13), (3, 5))  # odd, not square, tiny


renders = pytest.mark.usefixtures("renderer")


def measure_error(bundle, folder):
    """Write a shader, render it in a fresh process; return the error in levels of 255."""
    exporter = MpvExporter()
    exporter.check(bundle)
    names = exporter.write(bundle, folder)
    generator = torch.Generator().manual_seed(0)
    images = {
        f"{height}x{width}": torch.randint(0, 256, (1, 3, height, width), generator=generator) / 255
        for height, width in SIZES
    }
    np.savez(folder / "in.npz", **{name: image.numpy() for name, image in images.items()})
    paths = [str(folder / "in.npz"), str(folder / "out.npz")]
    subprocess.run([*exporter.reader(folder, names), *paths], check=True)

    errors = []
    with np.load(paths[1]) as outputs, torch.inference_mode():
        for name, image in images.items():
            expected = bundle.upscaler()(image).clamp(0, 1).numpy()
            assert outputs[name].shape == expected.shape
            errors.append(float(np.abs(outputs[name] - expected).max()))
    return 255 * max(errors), names


@renders
@pytest.mark.parametrize("name", CASES)
def test_shader_gives_what_pytorch_gives_within_one_level(name, tmp_path):
    torch.manual_seed(0)
    net = build(CASES[name])
    if net.spec.normalise:
        # As after a training: pixels of 255 give an image in [0, 1].
        net.upsampler.conv.weight.data /= 255
    error, names = measure_error(make_bundle(net), tmp_path)
    assert error <= 0.5
    assert names == [f"{CASES[name].arch_id}.glsl"]


@renders
def test_draft_has_its_base_in_the_shader(tmp_path):
    spec = make_span()
    error, names = measure_error(make_draft(spec), tmp_path)
    assert error <= 0.5
    assert names == [f"{spec.arch_id}_draft.glsl"]


@renders
def test_convolution_of_more_textures_than_a_pass_binds_is_summed_up_in_parts(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(shader, "MAX_BINDS", 3)  # for fifteen a network has to be large
    error, names = measure_error(make_bundle(build(make_span())), tmp_path)
    assert error <= 0.5
    passes = (tmp_path / names[0]).read_text().split("//!HOOK")[1:]
    assert max(text.count("//!BIND") for text in passes[:-1]) == 4  # the partial sum is the fourth


@renders
def test_export_checks_the_shader_on_hostile_images_too(tmp_path):
    bundle = make_bundle(build(make_span(taps=["last"])))
    files = export(bundle, {"mpv": MpvExporter()}, tmp_path / "out")
    assert f"{bundle.name}.glsl" in [path.name for path in files]


class Spoilt(MpvExporter):
    """Writes a shader with a slip in its language."""

    def write(self, bundle, folder):
        (name,) = super().write(bundle, folder)
        path = folder / name
        path.write_text(path.read_text().replace("vec4 hook()", "vec3 hook()"))
        return [name]


@renders
def test_shader_that_does_not_compile_fails_the_export(tmp_path):
    bundle = make_bundle(build(make_span(taps=["last"])))
    with pytest.raises(Exception, match="the check of mpv failed"):
        export(bundle, {"mpv": Spoilt()}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("span", "normalise=true overflow"),
        ("safmn_deep15", "mpv: it lacks aten.native_group_norm, an operator of blocks.1.norm1"),
        ("haesr", "mpv: it lacks aten.reflection_pad2d, an operator of the network itself"),
        ("mambagate", r"mpv: it lacks aten\.\w+, an operator of blocks.1.attention"),
        ("dwmamba", r"mpv: it lacks aten\.\w+, an operator of "),
    ],
)
def test_what_a_shader_cannot_hold_is_refused(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(make_bundle(build(published(name))), {"mpv": MpvExporter()}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@renders
def test_features_that_overflow_half_floats_are_refused_by_their_layer():
    net = build(make_span(attention=["none"], activation=["relu"]))
    with torch.no_grad():
        net.blocks["1"].conv2.weight *= 1e7
    with pytest.raises(ValueError, match=r"those of blocks\.1\.conv2 reach .* on the image 'green"):
        MpvExporter().check(make_bundle(net))


def test_machine_that_renders_nothing_is_told_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=r"ffmpeg is not installed.*apt install ffmpeg mesa"):
        MpvExporter().check(make_bundle(build(make_span())))


@pytest.mark.parametrize("change", [{}, {"activation": ["silu"]}, {"attention": ["conv1x1"]}])
def test_features_are_scaled_only_where_that_is_exact(change):
    options = {"normalise": True, "activation": ["relu"], "attention": ["none"], **change}
    net = build(make_span(skip=["near"], **options)).eval()
    small = scale_features(net)
    assert (small is None) == bool(change)


def test_reader_says_what_is_missing(tmp_path):
    command = [sys.executable, "-m", "nas.export.mpv.read", "no.glsl", "in.npz", "out.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "there is no file no.glsl\n")


@renders
def test_levels_go_through_the_renderer_as_they_are():
    frames = np.arange(2 * 3 * 4 * 6, dtype=np.uint16).reshape(2, 3, 4, 6) * 257
    assert LEVELS % 257 == 0
    flat = np.broadcast_to(frames[:, :, :1, :1], frames.shape).copy()
    assert np.abs(render(None, flat, 2).astype(int) - flat.repeat(2, 2).repeat(2, 3)).max() <= 32
    assert mpv.LARGEST == 65504
