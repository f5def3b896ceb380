import itertools
import random

import pytest
from optuna.trial import TrialState

from nas.analysis.results import front_table, table
from nas.search import ledger as ledger_module
from nas.search.ledger import RECORD, Exhausted
from nas.search.store.journal import JOURNAL, open_storage, recover
from nas.search.store.runs import read_state
from search_spaces.chooser import decisions
from tests.nas.search.studies import (
    CHALLENGE,
    climb,
    failed,
    open_ledger,
    record_of,
    rejected,
    rows,
    search,
    small_space,
    wide_space,
)

MODELLED = ("cost_aware", "gp")  # they take seconds


def trials_of(ledger):
    return ledger.study.get_trials(deepcopy=False)


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random"])
def test_numbers_have_no_gaps_and_no_architecture_comes_twice(tmp_path, sampler):
    """Duplicates are proposed in so small a space; they are no rows and do not count."""
    ledger = open_ledger(tmp_path, sampler=sampler)
    assert search(ledger, 20) == ""
    assert sorted(ledger.records) == list(range(21))
    assert len({record.spec.arch_id for record in ledger.records.values()}) == 21
    assert len(trials_of(ledger)) > 20
    assert all(trial.state.is_finished() for trial in trials_of(ledger))


@pytest.mark.parametrize("sampler", ["nsga2", "random"])
def test_exhausted_space_ends_the_search_with_every_member_found(tmp_path, sampler):
    ledger = open_ledger(tmp_path, sampler=sampler)
    reason = search(ledger, 100)
    assert reason == "no architecture was found that is not known: the space is exhausted"
    assert sorted(ledger.records) == list(range(25))


def test_space_of_one_network_is_searched(tmp_path):
    space = small_space(num_blocks=[1], channels=[8], attention=["none"], activation=["relu"])
    ledger = open_ledger(tmp_path, space=space)
    assert "exhausted" in search(ledger, 5)
    assert sorted(ledger.records) == [0, 1]


def test_baseline_is_not_proposed(tmp_path):
    members = small_space(num_blocks=[1], channels=[8], attention=["none"])
    baseline = open_ledger(tmp_path / ".", space=members).space.sample(_first())
    (tmp_path / "other").mkdir()
    ledger = open_ledger(tmp_path / "other", space=members, baseline=baseline)
    assert "exhausted" in search(ledger, 5)
    assert len(ledger.records) == 2


def _first():
    class First:
        def pick(self, name, options):
            return options[0]

    return First()


def test_a_thousand_rejected_in_a_row_end_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "MAX_IN_A_ROW", 15)
    ledger = open_ledger(tmp_path, limits={"params": 1.0})
    assert search(ledger, 5, rejected) == "the last 15 proposals were all rejected or known"
    assert ledger.num_counted == 0
    assert len(ledger.records) > 1
    again = open_ledger(tmp_path, limits={"params": 1.0})
    assert again.in_a_row == ledger.in_a_row == 15
    with pytest.raises(Exhausted):
        again.propose()


def test_a_thousand_is_the_number(tmp_path):
    assert ledger_module.MAX_IN_A_ROW == 1000


def test_a_trial_that_is_kept_starts_the_count_again(tmp_path):
    ledger = open_ledger(tmp_path)
    climb(ledger)
    for end in (rejected, rejected, record_of):
        proposal = ledger.propose()
        ledger.record(proposal, end(proposal))
    assert ledger.in_a_row == open_ledger(tmp_path).in_a_row == 0


def test_failed_trial_is_kept_typed_and_counted(tmp_path):
    ledger = open_ledger(tmp_path)
    search(ledger, 4, failed)
    for one in (ledger, open_ledger(tmp_path)):
        assert one.num_counted == 4
        frame = table(one.state("run", {}))
        assert list(frame["state"][1:]) == ["failed"] * 4
        assert set(frame["error"][1:]) == {"ValueError: no"}
    assert {trial.state for trial in trials_of(ledger)} == {TrialState.FAIL}


def test_rejected_trial_is_a_row_that_does_not_count(tmp_path):
    ledger = open_ledger(tmp_path, limits={"params": 1.0})
    climb(ledger)
    proposal = ledger.propose()
    ledger.record(proposal, rejected(proposal))
    assert ledger.num_counted == 0
    row = table(ledger.state("run", {})).iloc[1]
    assert (row["state"], row["feasible"], row["error"]) == ("rejected", "no", "limit: params 9 > 1")
    told = trials_of(ledger)[0]
    assert told.state == TrialState.COMPLETE
    assert any(value > 0 for value in _constraints(told))


def _constraints(trial):
    """The constraints that Optuna's samplers see."""
    return list(trial.constraints.values())


def test_limits_and_a_believed_gate_are_constraints(tmp_path):
    ledger = open_ledger(tmp_path, limits={"params": 20e3, "runtime_ratio": 1.0})
    climb(ledger, psnrs=(25.0, 25.4, 25.8, 26.2), seeds=(0, 1, 2))
    assert ledger.now.can_rank
    for _ in range(8):
        proposal = ledger.propose()
        ledger.record(proposal, record_of(proposal))
    frame = table(ledger.state("run", {})).set_index("number")
    for trial in trials_of(ledger):
        if "number" not in trial.user_attrs:
            continue
        row = frame.loc[trial.user_attrs["number"]]
        constraints = trial.constraints
        assert constraints["params"] == pytest.approx(row["params"] / 20e3 - 1)
        assert constraints["runtime_ratio"] == pytest.approx(row["runtime_ratio"] / 1.0 - 1)
        assert constraints["psnr_gain_db"] == pytest.approx(-0.04 - row["psnr_gain_db"])
        assert (row["feasible"] == "yes") == all(value <= 0 for value in constraints.values())
        assert trial.values == pytest.approx([row["psnr_gain_db"], row["runtime_ratio"]])


def test_gate_is_no_constraint_while_the_proxy_cannot_rank(tmp_path):
    ledger = open_ledger(tmp_path)
    search(ledger, 3)
    assert not ledger.now.can_rank
    assert all(trial.constraints == {} for trial in trials_of(ledger))


def test_pending_trials_come_back_under_their_number_with_their_parameters(tmp_path):
    ledger = open_ledger(tmp_path)
    search(ledger, 3)
    open_ones = [ledger.propose() for _ in range(3)]
    ledger.record(open_ones[1], record_of(open_ones[1]))
    again = open_ledger(tmp_path)
    assert again.pending == [open_ones[0], open_ones[2]]
    params = {trial._trial_id: trial.params for trial in trials_of(ledger)}
    assert params == {trial._trial_id: trial.params for trial in trials_of(again)}
    following = again.propose()
    assert following.number == 7
    assert following.spec.arch_id not in {one.spec.arch_id for one in open_ones}


def test_record_that_was_written_but_not_told_is_told_on_opening(tmp_path):
    ledger = open_ledger(tmp_path)
    search(ledger, 3)
    proposal = ledger.propose()
    record = record_of(proposal)
    ledger.study._storage.set_trial_user_attr(proposal.handle, RECORD, record.to_json())
    again = open_ledger(tmp_path)
    assert again.records[proposal.number] == record
    assert again.pending == []
    told = trials_of(again)[-1]
    assert told.state == TrialState.COMPLETE
    assert told.values[1] == record.latency.ratio


@pytest.mark.parametrize("sampler", ["cost_aware", "evolution", "nsga2", "tpe", "random"])
def test_same_seed_gives_the_same_search_and_another_seed_another(tmp_path, sampler):
    found = []
    for place, seed in enumerate([5, 5, 6]):
        (tmp_path / str(place)).mkdir()
        ledger = open_ledger(tmp_path / str(place), sampler=sampler, seed=seed, space=wide_space())
        search(ledger, 8)
        found.append(rows(ledger))
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.parametrize(
    ("sampler", "space"),
    [
        *itertools.product(["evolution", "nsga2", "tpe", "random"], ["small", "wide"]),
        *itertools.product(["cost_aware"], ["small", "wide"]),
        ("gp", "wide"),
    ],
)
def test_search_is_the_same_after_a_kill_at_any_write(tmp_path, sampler, space):
    """The journal is cut at every kind of place; what goes on from there finds the same."""
    trials, space = (22, small_space()) if space == "small" else (14, wide_space())
    trials = 9 if sampler in MODELLED else trials
    (tmp_path / "whole").mkdir()
    whole = open_ledger(tmp_path / "whole", sampler=sampler, space=space)
    search(whole, trials)
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    draw = random.Random(0)
    places = draw.sample(range(1, len(lines)), 2 if sampler in MODELLED else 14)
    for place in sorted({*places, len(lines) - 1}):
        folder = tmp_path / f"cut{place}"
        folder.mkdir()
        half = lines[place][: draw.randrange(len(lines[place]))]
        (folder / JOURNAL).write_bytes(b"".join(lines[:place]) + half)
        recover(folder / JOURNAL)
        again = open_ledger(folder, sampler=sampler, space=space)
        before = rows(again)
        search(again, trials)
        assert rows(again) == rows(whole), f"cut before line {place + 1} of {len(lines)}"
        assert rows(again)[: len(before)] == before


@pytest.mark.parametrize("sampler", ["cost_aware", "nsga2", "tpe", "gp"])
def test_sampler_models_every_decision_in_every_trial(tmp_path, sampler, monkeypatch):
    """After its start, where it draws at random, each proposal comes from the model, all of it."""
    ledger = open_ledger(tmp_path, sampler=sampler, space=wide_space())
    modelled = []
    make = type(ledger.strategy.config).make

    def watched(self, **options):
        made = make(self, **options)
        inner, independent = made.sample_relative, made.sample_independent

        def sample_relative(study, trial, search_space):
            found = inner(study, trial, search_space)
            modelled.append((set(search_space), set(found), set()))
            return found

        def sample_independent(study, trial, name, distribution):
            modelled[-1][2].add(name)
            return independent(study, trial, name, distribution)

        made.sample_relative, made.sample_independent = sample_relative, sample_independent
        return made

    monkeypatch.setattr(type(ledger.strategy.config), "make", watched)
    search(ledger, 12)
    wanted = set(decisions(ledger.space))
    assert len(wanted) == 9
    start = next(place for place, (_, found, _) in enumerate(modelled) if found)
    assert start <= 6
    for asked, found, drawn in modelled[start:]:
        assert asked == wanted
        assert found | drawn == wanted
        assert not found & drawn
        assert sampler == "nsga2" or not drawn
    mutated = sum(len(drawn) for _, _, drawn in modelled[start:]) / len(modelled[start:])
    assert mutated < 2.5  # NSGA-II draws one decision of each child anew, on average: its mutations
    assert all(set(trial.params) == wanted for trial in trials_of(ledger))


def test_modelled_decisions_are_those_that_trials_ask(tmp_path):
    ledger = open_ledger(tmp_path, space=wide_space())
    search(ledger, 3)
    assert all(trial.distributions == ledger.strategy.distributions for trial in trials_of(ledger))


def test_population_is_that_of_the_first_session(tmp_path):
    """`trials` may grow; what the sampler proposes must not change with that."""
    open_ledger(tmp_path, population=8)
    assert open_ledger(tmp_path, population=50).strategy.population == 8


def test_reading_gives_the_state_and_writes_nothing(tmp_path):
    ledger = open_ledger(tmp_path)
    search(ledger, 5)
    ledger.propose()
    ledger.set_test_psnr({"abc": 25.0})
    before = (tmp_path / JOURNAL).read_bytes()
    state = read_state(
        open_storage(tmp_path / JOURNAL, read_only=True),
        name="run",
        objectives=ledger.objectives,
        limits={},
        challenge=CHALLENGE,
        settings={},
        ladder_seeds=1,
    )
    assert state == ledger.state("run", {})
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_kill_before_the_sampler_was_told_of_one_that_is_being_tried(tmp_path):
    ledger = open_ledger(tmp_path)
    climb(ledger)
    proposal = ledger.propose()
    again = ledger.study.ask()
    again.set_user_attr("same_as", proposal.spec.arch_id)
    reopened = open_ledger(tmp_path)
    assert [one.number for one in reopened.pending] == [proposal.number]
    assert reopened.study.trials[again.number].state == TrialState.FAIL


def test_candidates_inherit_from_the_likest_on_the_front(tmp_path):
    """The parent is written down: what is found later changes nothing for what was proposed before."""
    ledger = open_ledger(tmp_path, inherit=True)
    climb(ledger)
    first = ledger.propose()
    assert first.inherits == 0
    ledger.record(first, record_of(first, inherits=0))
    for _ in range(6):
        proposal = ledger.propose()
        ledger.record(proposal, record_of(proposal, inherits=proposal.inherits))
    members = set(front_table(table(ledger.now))["number"])
    last = ledger.propose()
    assert last.inherits in members | {0}
    params = {t.user_attrs["number"]: t.params for t in ledger.study.trials if "number" in t.user_attrs}
    assert ledger.insight.nearest(params[3], {2: params[2], 3: params[3]}) == 3
    again = open_ledger(tmp_path, inherit=True)
    assert [one.inherits for one in again.pending] == [last.inherits]
    parents = {ledger.records[number].spec.arch_id for number in (0, last.inherits)}
    assert again.needed == parents
    assert table(again.now)["inherits"].tolist()[1] == 0


def test_without_inherit_nothing_is_started_from(tmp_path):
    ledger = open_ledger(tmp_path)
    climb(ledger)
    assert ledger.propose().inherits is None
    assert ledger.needed == set()
