import importlib.util

import pytest

from nas.export.ncnn.exporter import NcnnExporter
from search_spaces import build, published
from tests.nas.export.networks import make_bundle


def test_missing_package_is_named_with_its_pip_line(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pnnx" else find_spec(name)
    )
    with pytest.raises(ValueError, match=r"needs pnnx.*pip install 'esr-nas\[ncnn\]'"):
        NcnnExporter().check(make_bundle(build(published("disp"))))
