import sys

import pytest

from benchmarks.search import overhead


@pytest.mark.parametrize(
    "arguments", [[], ["--sampler", "cost_aware", "--grow", "nsga2"], ["--reopen"]]
)
def test_it_measures_the_ledger_as_it_is_now(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["overhead.py", "--trials", "12", "--window", "3", *arguments])
    overhead.main()
    assert "| 12 (" in capsys.readouterr().out
