import zipfile
from pathlib import Path

import torch

from nas.export.bundle import Bundle
from nas.export.torch_export import TorchExportExporter
from nas.train.proxy import residual_spec
from search_spaces import build
from tests.search_spaces.tiny import tiny_spec


def write(folder, base=None, **settings):
    torch.manual_seed(0)
    spec = tiny_spec()
    net = build(spec if base is None else residual_spec(spec))
    bundle = Bundle(spec=spec, net=net, base=base, provenance={})
    exporter = TorchExportExporter(**{"clamp": False, "dynamic_batch": False} | settings)
    exporter.check(bundle)
    (name,) = exporter.write(bundle, folder)
    return bundle, folder / name


def test_the_archive_gives_what_pytorch_gives_at_any_size(tmp_path):
    bundle, path = write(tmp_path)
    program = torch.export.load(path)
    assert tuple(program.graph_signature.user_inputs) == ("input",)
    assert tuple(program.graph_signature.user_outputs) == ("output",)
    network = program.module()
    for size in ((37, 53), (64, 40), (3, 5), (1, 1)):
        x = torch.rand(1, 3, *size)
        torch.testing.assert_close(network(x), bundle.net(x), rtol=0, atol=1e-4)


def test_nothing_of_this_machine_is_in_the_archive(tmp_path):
    _, path = write(tmp_path)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            assert b"site-packages" not in data
            assert str(Path.cwd()).encode() not in data
            assert b'.py"' not in data


def test_a_clamped_archive_of_batches(tmp_path):
    bundle, path = write(tmp_path, clamp=True, dynamic_batch=True)
    x = torch.rand(3, 3, 9, 7) * 4 - 2
    expected = bundle.net(x)
    assert expected.min() < 0
    torch.testing.assert_close(torch.export.load(path).module()(x), expected.clamp(0, 1))


def test_a_draft_holds_its_base(tmp_path):
    bundle, path = write(tmp_path, base="bicubic")
    assert path.name == f"{bundle.name}_draft.pt2"
    x = torch.rand(1, 3, 37, 53)
    torch.testing.assert_close(torch.export.load(path).module()(x), bundle.upscaler()(x))
