"""The examples in docstrings of the runner and its parts."""

import doctest
import importlib

import pytest

MODULES = (
    "nas.deploy.fastest",
    "nas.deploy.hostile",
    "nas.deploy.plan",
    "nas.deploy.runner",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
