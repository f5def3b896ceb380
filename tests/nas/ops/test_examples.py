"""The examples in the docstrings of the operators' public doors run and print what they say."""

import doctest
import importlib

import pytest

EXAMPLES = [
    "nas.ops.backend.using",
    "nas.ops.backend.why_not",
    "nas.ops.fuse.fuse",
    "nas.ops.conv_act.config.choose",
    "nas.ops.conv_act.module.ConvAct",
    "nas.ops.conv_act.op.conv_act",
    "nas.ops.conv_act.reference.reference",
    "nas.ops.span_attention.op.parameter_free_attention",
    "nas.ops.span_attention.op.span_attention",
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name):
    # By file, not by attribute: a package's `conv_act` is the function of that name.
    module_name, _, door = name.rpartition(".")
    module = importlib.import_module(module_name)
    examples = doctest.DocTestFinder(recurse=False).find(
        getattr(module, door), name, globs=dict(vars(module))
    )
    runner = doctest.DocTestRunner()
    results = [runner.run(example) for example in examples]
    assert sum(result.attempted for result in results) >= 1
    assert sum(result.failed for result in results) == 0
