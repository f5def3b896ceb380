"""The examples in docstrings of the command line's parts."""

import doctest
import importlib

import pytest

MODULES = (
    "nas.cli.annotations",
    "nas.cli.catalog",
    "nas.cli.composition",
    "nas.cli.door",
    "nas.cli.habits",
    "nas.cli.invocation",
    "nas.cli.overrides",
    "nas.cli.python_values",
    "nas.cli.schema",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
