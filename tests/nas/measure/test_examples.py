"""The examples in docstrings of what users and other rooms call."""

import doctest
import importlib

import pytest

MODULES = (
    "nas.measure.cost",
    "nas.measure.device",
    "nas.measure.latency.meter",
    "nas.measure.latency.modes",
    "nas.measure.latency.protocol",
    "nas.measure.quality",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
