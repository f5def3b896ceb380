"""Readers of files run without what made them: a user's engine has none of it."""

import importlib.util
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["mpv", "ncnn", "spandrel"])
def test_reader_imports_nothing_of_what_builds_networks(name):
    if name == "ncnn" and importlib.util.find_spec("ncnn") is None:
        pytest.skip("ncnn is not installed: pip install 'esr-nas[ncnn]'")
    code = (
        f"import sys, nas.export.{name}.read; "
        "print(*(module for module in sys.modules if module.startswith('search_spaces')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
