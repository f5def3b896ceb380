"""The examples in docstrings of what several commands share."""

import doctest
import importlib

import pytest

MODULES = ("nas.commands.architectures", "nas.commands.csv_files")


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
