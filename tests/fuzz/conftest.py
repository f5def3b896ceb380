"""The sandbox in which inputs are tried."""

import sys
import tempfile

import pytest

from tests.fuzz.watch import CANARY, Watch, watching


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """A watch over a sandbox to stand in, with a module that nothing may import."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / f"{CANARY}.py").write_text("import os\nclass Space: pass\nos.system('true')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.delenv("NAS_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)
    found = Watch(tmp_path)
    watching(found)
    yield found
    assert CANARY not in sys.modules
