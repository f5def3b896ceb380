"""`nas.Search`: the command's search as an object, also over objects that a user wrote."""

import dataclasses
import random
import signal

import pandas as pd
import pytest

from nas import Search
from nas.analysis.ladder import rung_spec
from nas.cli.door import main
from nas.cli.overrides import parse
from nas.cli.python_values import describe_object, write_overrides
from nas.search.samplers.base import Suggestion
from nas.search.samplers.cost_aware import CostAware
from nas.search.store.run_folder.runs import load_run
from tests.nas.search.engines.formula import FormulaBackend, SameProcessEngine

TABLE = {
    "evaluator": "table",
    "space": "esr_bench_mini",
    "challenge": "esr_bench_mini",
    "proxy": {"steps": 2000},
}


@dataclasses.dataclass
class Smallest:
    """A user's sampler: the candidate with fewest parameters that was not tried yet."""

    picks_best = False
    skipped: int = 0

    def ask(self, observations, pending, *, seed):
        candidates, tried = observations.candidates, observations.list_tried(pending)
        points = [point for point in candidates.list_points([]) if point not in tried]
        points.sort(key=lambda point: candidates.costs([point])["params"][0])
        if len(points) <= self.skipped:
            return None
        return Suggestion(params=candidates.params(points[self.skipped]))


class DepthSpace:
    """A user's space: SPAN of two to seven blocks, in two widths."""

    def sample(self, chooser):
        channels = chooser.pick("channels", [12, 16])
        depth = chooser.pick("depth", [2, 3, 4, 5, 6, 7])
        return rung_spec(f"{channels}x{depth}", 4)


def test_it_finds_what_the_command_finds(tmp_path, capsys):
    result = Search(**TABLE, trials=6, seed=3, run=tmp_path / "python").run()
    assert capsys.readouterr().out == ""
    overrides = "evaluator=table space=esr_bench_mini challenge=esr_bench_mini proxy.steps=2000"
    assert (
        main(["search", *overrides.split(), "trials=6", "seed=3", f"run={tmp_path / 'typed'}"]) == 0
    )
    typed = pd.read_csv(tmp_path / "typed" / "trials.csv")
    python = pd.read_csv(result.folder / "trials.csv")
    columns = [name for name in typed if not name.endswith("_seconds")]
    pd.testing.assert_frame_equal(python[columns], typed[columns])
    assert len(result.trials) == 7
    assert list(result.front["number"]) == list(pd.read_csv(result.folder / "front.csv")["number"])
    assert (tmp_path / "python/.hydra/config.yaml").read_text().replace("python", "typed") == (
        tmp_path / "typed/.hydra/config.yaml"
    ).read_text()


def test_a_users_sampler_is_asked_and_goes_on(tmp_path):
    run = tmp_path / "run"
    result = Search(**TABLE, trials=4, run=run, sampler=Smallest()).run()
    params = result.trials["params"].tolist()[1:]
    assert params == sorted(params)
    again = Search(run=run, trials=6, sampler=Smallest()).run()
    assert again.trials["params"].tolist()[1:5] == params
    assert len(again.trials) == 7


def test_a_users_sampler_with_other_settings_is_another_search(tmp_path):
    run = tmp_path / "run"
    Search(**TABLE, trials=2, run=run, sampler=Smallest()).run()
    before = (run / "journal.log").read_bytes()
    with pytest.raises(ValueError, match=r"sampler\.skipped: .* started with 0, now it is 1"):
        Search(run=run, trials=4, sampler=Smallest(skipped=1)).run()
    assert (run / "journal.log").read_bytes() == before


def test_a_command_says_who_can_go_on_and_reads_the_run(tmp_path, capsys):
    run = tmp_path / "run"
    Search(**TABLE, trials=2, run=run, sampler=Smallest()).run()
    assert main(["search", f"run={run}", "trials=4"]) == 2
    line = capsys.readouterr().err
    assert "its sampler is an object of Python, tests.nas.test_api.Smallest; give it again" in line
    assert main(["report", f"run={run}"]) == 0


def test_an_object_of_ours_is_kept_as_the_command_keeps_it(tmp_path):
    run = tmp_path / "run"
    sampler = CostAware(startup=3, screen=2.5)
    Search(**TABLE, trials=2, run=run, sampler=sampler).run()
    assert main(["search", f"run={run}", "trials=3"]) == 0
    assert len(load_run(run).records) == 4


def test_a_search_over_a_users_space_evaluator_and_engine(tmp_path):
    engine = SameProcessEngine()
    parts = {"space": DepthSpace(), "evaluator": FormulaBackend(), "engine": engine}
    result = Search("trials=5", run=tmp_path / "run", **parts, sampler="random").run()
    assert engine.num_starts == 1
    assert set(result.trials["state"]) == {"complete"}
    assert (
        result.trials["num_blocks"].between(2, 7).all() if "num_blocks" in result.trials else True
    )
    assert len(result.trials) == 6
    assert (tmp_path / "run/report.html").is_file()


def test_it_prints_as_the_command_does_where_asked_to(tmp_path, capsys):
    Search(**TABLE, trials=2, run=tmp_path / "run").run(show=True)
    out = capsys.readouterr().out
    assert "results are looked up in" in out
    assert "trial 2 complete" in out


def test_what_had_finished_is_kept_when_it_is_interrupted(tmp_path):
    class Interrupting(Smallest):
        def ask(self, observations, pending, *, seed):
            if len(observations.trained) > 5:
                signal.raise_signal(signal.SIGINT)
            return super().ask(observations, pending, seed=seed)

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        Search(**TABLE, trials=9, run=run, sampler=Interrupting()).run()
    kept = len(pd.read_csv(run / "trials.csv"))
    assert 1 < kept < 9
    state = load_run(run)
    assert len(state.records) == kept


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"trials": "many"}, "trials: expected a whole number or null, got \"many\""),
        ({"trails": 3}, "unknown key 'trails': .*; did you mean trials"),
        ({"smapler": Smallest()}, "unknown key 'smapler': .*; did you mean sampler"),
        ({"sampler": "tpee"}, "there is no sampler 'tpee'; choose from .*; did you mean tpe"),
        ({"sampler": Smallest}, r"got the class Smallest; make one: sampler=Smallest\("),
        ({"sampler": object()}, "expected a Sampler, .* has no ask and no picks_best"),
        ({"space": Smallest()}, "space: expected a Space, .* which has no sample"),
        ({"engine": FormulaBackend()}, "engine: expected an Engine, .* no doing and no idle"),
        ({"proxy": Smallest()}, "proxy: expected a ProxyConfig, got an object of Smallest"),
        ({"proxy": {"stesp": 3}}, "unknown key 'proxy.stesp'.*did you mean steps"),
        ({"trials": Smallest()}, "trials: expected a whole number or null, got an object of Smallest"),
    ],
    ids=["range", "type", "key", "object's key", "choice", "class", "no sampler", "no space", "no engine",
         "no proxy", "inner key", "no number"],
)  # fmt: skip
def test_wrong_values_are_one_line_and_leave_nothing(tmp_path, values, message):
    run = tmp_path / "run"
    with pytest.raises(ValueError, match=message) as caught:
        Search(**{**TABLE, "run": run, **values}).run()
    assert "\n" not in str(caught.value)
    assert not run.exists()


def test_overrides_are_text():
    with pytest.raises(ValueError, match=r"expected overrides such as 'trials=20', got a Smallest"):
        Search(Smallest())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"attention": 0}, "returned an object of dict; return a Suggestion"),
        (
            Suggestion(params={"attention": 0}),
            "returned params that differ .* in activation",
        ),
        ("too large", r"returned activation=9; it must be a whole number from 0 to"),
    ],
    ids=["dict", "one decision", "too large"],
)
def test_what_a_sampler_returns_is_checked(tmp_path, returned, message):
    class Wrong(Smallest):
        def ask(self, observations, pending, *, seed):
            suggestion = super().ask(observations, pending, seed=seed)
            if returned == "too large":
                return Suggestion(params={**suggestion.params, "activation": 9})
            return returned

    with pytest.raises(ValueError, match=f"sampler: Wrong.ask {message}"):
        Search(**TABLE, trials=2, run=tmp_path / "run", sampler=Wrong()).run()


@pytest.mark.parametrize(
    "value",
    [0, -3, 1e-7, True, None, "tpe", "007", "null", "a b", "it's", "x\\", "[1]", "{a: 1}", "$x", "",
     ["a", "b c", 1], [[64, 64], [96, 32]], [{"a": 1, "b": "x y"}], "é/ü (1)", "true", "1e3"],
    ids=ascii,
)  # fmt: skip
def test_values_of_python_are_read_back_from_their_overrides(value):
    (line,) = write_overrides("key", value)
    assert parse(line).value() == value
    assert type(parse(line).value()) is type(value)


def test_a_dictionary_is_an_override_for_each_key():
    written = list(write_overrides("proxy", {"steps": 400, "optimizer": {"lr": 1e-3}}))
    assert written == ["proxy.steps=400", "proxy.optimizer.lr=0.001"]


def test_objects_are_described_by_their_class_and_fields():
    assert describe_object(Smallest(skipped=2)) == {
        "object": "tests.nas.test_api.Smallest",
        "skipped": 2,
    }
    ours = describe_object(CostAware(startup=3, screen=2.5))
    assert ours == {
        "_target_": "nas.search.samplers.cost_aware.CostAware",
        "startup": 3,
        "screen": 2.5,
    }
    assert describe_object(random.Random(1)) == {"object": "random.Random"}
