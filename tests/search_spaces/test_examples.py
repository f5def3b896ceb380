"""The examples in docstrings run, and the public doors have one each."""

import doctest
import importlib
import pkgutil

import pytest

import search_spaces
from search_spaces import ArchSpec, BlockSpec, build, published
from search_spaces.chooser import Space
from search_spaces.official import load_official
from search_spaces.spaces.grammar import GrammarSpace
from search_spaces.spaces.span import SpanSpace

DOORS = (build, published, ArchSpec, BlockSpec.of, load_official, Space, SpanSpace, GrammarSpace)
MODULES = [
    module.name for module in pkgutil.walk_packages(search_spaces.__path__, "search_spaces.")
]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__qualname__)
def test_a_public_door_has_an_example(door):
    assert "Example:" in (door.__doc__ or "")
    assert ">>> " in door.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
