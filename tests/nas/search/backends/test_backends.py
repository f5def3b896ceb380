"""What backends offer a search, and a search over objects that a user wrote."""

import dataclasses
from pathlib import Path

import pytest
import torch

from nas.cli.composition import compose_command
from nas.cli.schema import build, check
from nas.commands import search
from nas.search.backends.base import BackendParts, ReadingParts, Rules, TrainingParts
from nas.search.backends.table import TableBackend
from nas.search.backends.training import TrainingBackend
from nas.search.config import Budget
from nas.search.controller import Controller
from nas.search.engines.base import Placement
from nas.search.engines.simulated import SimulatedEngine
from nas.search.engines.tasks import started
from search_spaces.published import published
from tests.nas.search.engines.formula import FormulaBackend, SameProcessEngine
from tests.nas.search.studies import open_search, quality_of
from tests.nas.search.table.tables import FIDELITIES, SPACE, contents, table

BACKENDS = [TrainingBackend, TableBackend, FormulaBackend]


@pytest.fixture
def parts(tmp_path):
    """The parts of `nas search` as its defaults make them, over the made-up table."""
    table().save(tmp_path / "t.parquet")
    composed = compose_command("search", ["proxy.steps=20", "limits.params=1e6"])
    built = build(check(search.configure, composed.tree, given=("invocation",)))
    training = {name: built[name] for name in ("data", "proxy", "fidelity")}
    return BackendParts(
        run=Path("runs/mine"),
        device=torch.device("cpu"),
        placement=Placement(num_workers=2, num_per_host=2),
        seed=0,
        scale=4,
        space=SPACE,
        table=str(tmp_path / "t.parquet"),
        training=TrainingParts(**training),
        reading=ReadingParts(latency=built["latency"]),
        rules=Rules(challenge=built["challenge"], limits={}, ladder_seeds=3),
    )


@pytest.mark.parametrize("kind", BACKENDS)
def test_backend_offers_a_ladder_that_ends_in_a_training_of_the_proxys_steps(kind, parts):
    opened = kind().open(parts)
    assert opened.fidelities[-1] == 20
    assert opened.baseline.scale == 4
    assert len(opened.ladder_sizes) == 4
    assert opened.lacks(opened.baseline) == ""


def test_training_backend_shares_the_memory_of_a_host_among_its_workers(parts):
    opened = TrainingBackend().open(parts)
    assert opened.engine is None
    settings = opened.make_evaluator.args[0]
    assert settings.memory_mib == parts.training.data.memory_mib / 2
    assert settings.run == Path("runs/mine")
    other_hosts = dataclasses.replace(parts, placement=Placement(num_workers=8, num_per_host=1))
    settings = TrainingBackend().open(other_hosts).make_evaluator.args[0]
    assert settings.memory_mib == parts.training.data.memory_mib


def test_evaluator_computes_on_the_device_of_its_worker(parts):
    opened = TrainingBackend().open(parts)
    assert opened.make_evaluator().trainings.device == torch.device("cpu")
    assert opened.make_evaluator(device="meta").trainings.device == torch.device("meta")


def test_longer_trainings_take_more_steps_at_lower_rates_and_change_nothing_else(parts):
    longer = TrainingBackend().lengthen(parts, factor=20, rate=0.5)
    before, after = parts.training.proxy, longer.training.proxy
    assert after.steps == 400
    assert after.optimizer.lr == before.optimizer.lr / 2
    assert after.optimizer.muon_lr == before.optimizer.muon_lr / 2
    training = dataclasses.replace(longer.training, proxy=before)
    assert dataclasses.replace(longer, training=training) == parts


def test_table_is_lengthened_to_its_longest_trainings_and_no_further(parts):
    longest = TableBackend().lengthen(parts, factor=20, rate=0.5)
    assert longest.training.proxy.steps == FIDELITIES[-1]
    with pytest.raises(
        ValueError, match=r"^run=runs/mine: its table holds nothing longer than its 40"
    ):
        TableBackend().lengthen(longest, factor=20, rate=0.5)


def test_table_backend_brings_an_engine_whose_clock_is_the_searchs(parts):
    opened = TableBackend().open(parts)
    assert isinstance(opened.engine, SimulatedEngine)
    opened.engine.now = 7.0
    assert opened.clock() == 7.0
    assert opened.lacks(published("spanf")) == f"is not in table={parts.table}"
    assert opened.baseline == contents().baseline


@pytest.mark.parametrize("dies_once", [False, True])
def test_search_over_a_users_evaluator_backend_and_engine(tmp_path, parts, dies_once):
    """Seven trials by a formula in this process; a worker that dies takes no trial with it."""
    backend, engine = FormulaBackend().open(parts), SameProcessEngine()
    if dies_once:
        engine = DyingEngine(engine)
    asker = open_search(tmp_path, fidelities=backend.fidelities, sampler="random")
    controller = Controller(
        asker, engine, Budget(trials=7, hours=None), has_test=True,
        show=lambda *_: None, changed=lambda: None, clock=backend.clock,
    )  # fmt: skip
    with started(engine, backend.make_evaluator, engine.place_workers(None, "cpu")):
        assert controller.run() == "7 trials done"
    assert sorted(asker.study.records) == list(range(8))
    for number, record in asker.study.records.items():
        assert record.state == "complete"
        assert number == 0 or record.quality == quality_of(record.spec)
    assert asker.study.state.test_psnr_db


class DyingEngine:
    """Another engine whose worker dies at the first time of each task."""

    def __init__(self, engine):
        self.engine = engine
        self.dead = set()

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def results(self, timeout):
        for result in self.engine.results(timeout):
            if result.task.key in self.dead:
                yield result
            else:
                self.dead.add(result.task.key)
                yield dataclasses.replace(result, value=None, died=True, error="worker died: x")


# The ladder, trained longer.


def without_longer(parts):
    return dataclasses.replace(parts, rules=dataclasses.replace(parts.rules, ladder_long=False))


def with_steps(parts, steps):
    proxy = dataclasses.replace(parts.training.proxy, steps=steps)
    return dataclasses.replace(parts, training=dataclasses.replace(parts.training, proxy=proxy))


def test_training_backend_trains_the_ladder_four_times_as_long(parts, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened = TrainingBackend().open(parts)
    assert opened.longer.steps == 80
    assert opened.longer.find("28x6") is None
    assert opened.longer.key["proxy"]["steps"] == 20
    assert opened.longer.key["train"] == opened.fingerprints["train"]
    other = TrainingBackend().open(dataclasses.replace(parts, seed=7))
    assert other.longer.key == opened.longer.key  # of the data and the proxy, not of a run


def test_table_backend_reads_its_ladder_at_the_tables_end(parts):
    opened = TableBackend().open(parts)
    assert opened.longer.steps == FIDELITIES[-1]
    for size in opened.ladder_sizes:
        run = opened.longer.find(size).run
        assert (run.rung, run.fidelity) == (size, FIDELITIES[-1])
        assert [steps for steps, _ in run.curve] == [*FIDELITIES]
        assert run.curve[-1][1] == run.psnr_db


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        (TableBackend, lambda parts: with_steps(parts, FIDELITIES[-1]), "holds no training of more"),
        (TableBackend, without_longer, "ladder_long=false"),
        (TrainingBackend, without_longer, "ladder_long=false"),
        (FormulaBackend, lambda parts: parts, "its evaluator trains no longer"),
    ],
)  # fmt: skip
def test_backend_that_has_no_longer_trainings_says_why(kind, change, reason, parts):
    opened = kind().open(change(parts))
    assert opened.longer is None
    assert reason in opened.why_no_longer
