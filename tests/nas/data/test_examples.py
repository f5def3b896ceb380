"""The examples in the docstrings of data's public doors."""

import doctest

import numpy as np
import pytest

from nas.data.folders import folder_names
from nas.data.patches import store
from nas.data.pixels import bicubic
from nas.data.roles import open_roles
from tests.nas.data.pictures import config, write_pairs


def run_example(function, names, module):
    """Run the example of a function, which has to have one, with the names that it uses."""
    examples = doctest.DocTestFinder(recurse=False).find(
        function, function.__name__, globs=names, module=module
    )
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    results = [runner.run(example) for example in examples]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0


@pytest.fixture
def folders(tmp_path):
    write_pairs(tmp_path / "train", None, ["own"], first_seed=5)
    write_pairs(tmp_path / "set5", None, ["baby"])
    return config(train=tmp_path / "train", test=tmp_path / "set5")


def test_example_of_imresize_runs():
    run_example(bicubic.imresize, {"np": np, "imresize": bicubic.imresize}, bicubic)


def test_example_of_open_roles_runs(folders):
    run_example(open_roles, {"open_roles": open_roles, "config": folders}, None)


def test_example_of_the_patch_store_runs(folders):
    images = open_roles(folders, scale=4).need("train")
    names = {"PatchStore": store.PatchStore, "images": images}
    run_example(store.PatchStore, names, store)


def test_example_of_reading_folder_names_runs():
    function = folder_names.read_folder_name
    run_example(function, {"read_folder_name": function}, folder_names)
