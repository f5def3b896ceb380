"""The examples in docstrings of what users and other rooms call."""

import doctest
import importlib

import pytest

MODULES = (
    "nas.record",
    "nas.score",
    "nas.analysis.column",
    "nas.analysis.columns",
    "nas.analysis.ladder",
    "nas.analysis.membership",
    "nas.analysis.pareto",
    "nas.analysis.trust",
    "nas.report.html_table",
    "nas.report.numbers",
    "nas.report.panels.pareto",
    "nas.report.words",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
