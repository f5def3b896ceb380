"""The examples in docstrings of what users and other rooms call; nas/data and nas/ops have their own."""

import doctest
import importlib

import pytest

MODULES = (
    "nas.analysis.column",
    "nas.analysis.columns",
    "nas.analysis.ladder",
    "nas.analysis.membership",
    "nas.analysis.pareto",
    "nas.analysis.trust",
    "nas.api",
    "nas.cli.annotations",
    "nas.cli.catalog",
    "nas.cli.composition",
    "nas.cli.door",
    "nas.cli.habits",
    "nas.cli.invocation",
    "nas.cli.overrides",
    "nas.cli.python_values",
    "nas.cli.schema",
    "nas.commands.architectures",
    "nas.commands.csv_files",
    "nas.deploy.fastest",
    "nas.deploy.hostile",
    "nas.deploy.plan",
    "nas.deploy.runner",
    "nas.measure.cost",
    "nas.measure.device",
    "nas.measure.latency.meter",
    "nas.measure.latency.modes",
    "nas.measure.latency.protocol",
    "nas.measure.quality",
    "nas.record",
    "nas.report.html_table",
    "nas.report.numbers",
    "nas.report.panels.pareto",
    "nas.report.words",
    "nas.score",
    "nas.search.config",
    "nas.search.fidelity.config",
    "nas.system.files.record_file",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
