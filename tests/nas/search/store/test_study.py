import itertools
import math
import random
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from nas.analysis.results import front_table, table
from nas.search import asking
from nas.search.asking import Exhausted
from nas.search.model.decisions import read_decisions
from nas.search.samplers import optuna_samplers
from nas.search.store.distributions import make_distributions
from nas.search.store.facts import RECORD
from nas.search.store.journal import read_storage
from nas.search.store.run_folder.run_directory import JOURNAL
from nas.search.store.run_folder.runs import read_state
from nas.system.faults import MachineError
from nas.system.files.record_file import read_records, recover
from search_spaces.chooser import decisions
from tests.nas.search.studies import (
    CHALLENGE,
    climb,
    failed,
    open_search,
    record_of,
    rejected,
    rows,
    search,
    small_space,
    wide_space,
)

MODELLED = ("cost_aware", "gp")  # they take seconds


def medium_space():
    """144 networks: duplicates are rare, and describing them all takes no second."""
    return small_space(num_blocks=[1, 2, 3], skip=["none", "near"], taps=["all", "last"])


def trials_of(asker):
    return asker.study._study.get_trials(deepcopy=False)


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random"])
def test_numbers_have_no_gaps_and_no_architecture_comes_twice(tmp_path, sampler):
    """Duplicates are proposed in so small a space; they are no rows and do not count."""
    asker = open_search(tmp_path, sampler=sampler)
    assert search(asker, 20) == ""
    assert sorted(asker.study.records) == list(range(21))
    assert len({record.spec.arch_id for record in asker.study.records.values()}) == 21
    assert len(trials_of(asker)) > 20
    assert all(trial.state.is_finished() for trial in trials_of(asker))


@pytest.mark.parametrize("sampler", ["nsga2", "random"])
def test_exhausted_space_ends_the_search_with_every_member_found(tmp_path, sampler):
    asker = open_search(tmp_path, sampler=sampler)
    reason = search(asker, 100)
    assert reason == "no architecture was found that is not known: the space is exhausted"
    assert sorted(asker.study.records) == list(range(25))


def test_space_of_one_network_is_searched(tmp_path):
    space = small_space(num_blocks=[1], channels=[8], attention=["none"], activation=["relu"])
    asker = open_search(tmp_path, space=space)
    assert "exhausted" in search(asker, 5)
    assert sorted(asker.study.records) == [0, 1]


def test_baseline_is_not_proposed(tmp_path):
    members = small_space(num_blocks=[1], channels=[8], attention=["none"])
    baseline = members.sample(_first())
    (tmp_path / "other").mkdir()
    asker = open_search(tmp_path / "other", space=members, baseline=baseline)
    assert "exhausted" in search(asker, 5)
    assert len(asker.study.records) == 2


def _first():
    class First:
        def pick(self, name, options):
            return options[0]

    return First()


def test_a_thousand_rejected_num_fruitless_in_a_row_end_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "MAX_FRUITLESS_IN_A_ROW", 15)
    asker = open_search(tmp_path, limits={"params": 1.0})
    assert search(asker, 5, rejected) == "the last 15 proposals were all rejected or known"
    assert asker.study.num_counted == 0
    assert len(asker.study.records) > 1
    again = open_search(tmp_path, limits={"params": 1.0})
    assert again.study.num_fruitless_in_a_row == asker.study.num_fruitless_in_a_row == 15
    with pytest.raises(Exhausted):
        again.ask()


def test_a_thousand_is_the_number(tmp_path):
    assert asking.MAX_FRUITLESS_IN_A_ROW == 1000


def test_a_trial_that_is_kept_starts_the_count_again(tmp_path):
    asker = open_search(tmp_path)
    climb(asker.study)
    for end in (rejected, rejected, record_of):
        proposal = asker.ask()
        asker.study.tell(proposal, end(proposal))
    assert (
        asker.study.num_fruitless_in_a_row
        == open_search(tmp_path).study.num_fruitless_in_a_row
        == 0
    )


def test_failed_trial_is_kept_typed_and_counted(tmp_path):
    asker = open_search(tmp_path)
    search(asker, 4, failed)
    for one in (asker, open_search(tmp_path)):
        assert one.study.num_counted == 4
        frame = table(one.study.show("run", {}))
        assert list(frame["state"][1:]) == ["failed"] * 4
        assert set(frame["error"][1:]) == {"ValueError: no"}
    assert {trial.state for trial in trials_of(asker)} == {TrialState.FAIL}


@pytest.mark.parametrize("base_db", [25.01, 24.9, math.nan, math.inf])
def test_psnr_that_was_read_on_other_images_is_not_told(tmp_path, base_db):
    """Also in another session: the ladder says what the base had."""
    asker = open_search(tmp_path)
    climb(asker.study)
    proposal = asker.ask()
    journal = (tmp_path / JOURNAL).read_bytes()
    other = replace(record_of(proposal).quality, base_db=base_db)
    for study in (asker.study, open_search(tmp_path).study):
        (trial,) = study.pending
        before = (tmp_path / JOURNAL).read_bytes()
        with pytest.raises(MachineError, match=r"data\.val: the images changed under the search"):
            study.tell(trial, record_of(trial, quality=other))
        with pytest.raises(MachineError, match=r"25\.0000 dB"):
            study.add_ladder_run(replace(study.ladder[0], seed=1, base_db=base_db))
        assert (tmp_path / JOURNAL).read_bytes() == before
        assert len(study.records) == 1
    assert (tmp_path / JOURNAL).read_bytes().startswith(journal)
    rounded = replace(other, base_db=25.0004)
    study.tell(trial, record_of(trial, quality=rounded))
    assert len(study.records) == 2


def test_rejected_trial_is_a_row_that_does_not_count(tmp_path):
    asker = open_search(tmp_path, limits={"params": 1.0})
    climb(asker.study)
    proposal = asker.ask()
    asker.study.tell(proposal, rejected(proposal))
    assert asker.study.num_counted == 0
    row = table(asker.study.show("run", {})).iloc[1]
    assert (row["state"], row["feasible"], row["error"]) == (
        "rejected",
        "no",
        "limit: params 9 > 1",
    )
    told = trials_of(asker)[0]
    assert told.state == TrialState.COMPLETE
    assert any(value > 0 for value in _constraints(told))


def _constraints(trial):
    """The constraints that Optuna's samplers see."""
    return list(trial.constraints.values())


def test_limits_and_a_believed_gate_are_constraints(tmp_path):
    asker = open_search(tmp_path, limits={"params": 20e3, "runtime_ratio": 1.0})
    climb(asker.study, psnrs=(25.0, 25.4, 25.8, 26.2), seeds=(0, 1, 2))
    assert asker.study.state.can_rank
    for _ in range(8):
        proposal = asker.ask()
        asker.study.tell(proposal, record_of(proposal))
    frame = table(asker.study.show("run", {})).set_index("number")
    for trial in trials_of(asker):
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
    asker = open_search(tmp_path)
    search(asker, 3)
    assert not asker.study.state.can_rank
    assert all(trial.constraints == {} for trial in trials_of(asker))


def test_pending_trials_come_back_under_their_number_with_their_parameters(tmp_path):
    asker = open_search(tmp_path)
    search(asker, 3)
    open_ones = [asker.ask() for _ in range(3)]
    asker.study.tell(open_ones[1], record_of(open_ones[1]))
    again = open_search(tmp_path)
    assert again.study.pending == [open_ones[0], open_ones[2]]
    params = {trial._trial_id: trial.params for trial in trials_of(asker)}
    assert params == {trial._trial_id: trial.params for trial in trials_of(again)}
    following = again.ask()
    assert following.number == 7
    assert following.spec.arch_id not in {one.spec.arch_id for one in open_ones}


def test_record_that_was_written_but_not_told_is_told_on_opening(tmp_path):
    asker = open_search(tmp_path)
    search(asker, 3)
    proposal = asker.ask()
    record = record_of(proposal)
    asker.study._trials.write(proposal.place, RECORD, record.to_json())
    again = open_search(tmp_path)
    assert again.study.records[proposal.number] == record
    assert again.study.pending == []
    told = trials_of(again)[-1]
    assert told.state == TrialState.COMPLETE
    assert told.values[1] == record.latency.ratio


@pytest.mark.parametrize("sampler", ["cost_aware", "evolution", "nsga2", "tpe", "random"])
def test_same_seed_gives_the_same_search_and_another_seed_another(tmp_path, sampler):
    found = []
    for place, seed in enumerate([5, 5, 6]):
        (tmp_path / str(place)).mkdir()
        asker = open_search(tmp_path / str(place), sampler=sampler, seed=seed, space=medium_space())
        search(asker, 8)
        found.append(rows(asker.study))
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.parametrize(
    ("sampler", "space"),
    [
        *itertools.product(["evolution", "nsga2", "tpe", "random"], ["small", "medium"]),
        *itertools.product(["cost_aware"], ["small", "medium"]),
        ("gp", "medium"),
    ],
)
def test_search_is_the_same_after_a_kill_at_any_write(tmp_path, sampler, space):
    """The journal is cut at every kind of place; what goes on from there finds the same."""
    trials, space = (22, small_space()) if space == "small" else (14, medium_space())
    trials = 9 if sampler in MODELLED else trials
    (tmp_path / "whole").mkdir()
    whole = open_search(tmp_path / "whole", sampler=sampler, space=space)
    search(whole, trials)
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    following = whole.ask().spec
    draw = random.Random(0)
    places = draw.sample(range(1, len(lines)), 2 if sampler in MODELLED else 14)
    for place in sorted({*places, len(lines) - 1}):
        folder = tmp_path / f"cut{place}"
        folder.mkdir()
        half = lines[place][: draw.randrange(len(lines[place]))]
        (folder / JOURNAL).write_bytes(b"".join(lines[:place]) + half)
        recover(folder / JOURNAL)
        again = open_search(folder, sampler=sampler, space=space)
        before = rows(again.study)
        search(again, trials)
        assert rows(again.study) == rows(whole.study), (
            f"cut before line {place + 1} of {len(lines)}"
        )
        assert rows(again.study)[: len(before)] == before
        assert again.ask().spec == following


@pytest.mark.parametrize(
    ("sampler", "name"), [("nsga2", "_NSGAII"), ("tpe", "_TPE"), ("gp", "_GP")]
)
def test_sampler_models_every_decision_in_every_trial(tmp_path, sampler, name, monkeypatch):
    """After its start, where it draws at random, each suggestion comes from the model, all of it."""
    asker = open_search(tmp_path, sampler=sampler, space=wide_space())
    modelled = []

    class Watched(getattr(optuna_samplers, name)):
        def sample_relative(self, study, trial, search_space):
            found = super().sample_relative(study, trial, search_space)
            modelled.append((set(search_space), set(found), set()))
            return found

        def sample_independent(self, study, trial, param_name, distribution):
            modelled[-1][2].add(param_name)
            return super().sample_independent(study, trial, param_name, distribution)

    monkeypatch.setattr(optuna_samplers, name, Watched)
    search(asker, 12)
    wanted = set(decisions(asker.space))
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
    assert all(set(trial.params) == wanted for trial in trials_of(asker))


def test_modelled_decisions_are_those_that_trials_ask(tmp_path):
    asker = open_search(tmp_path, space=wide_space())
    search(asker, 3)
    assert all(
        trial.distributions == make_distributions(read_decisions(asker.space))
        for trial in trials_of(asker)
    )


def test_planned_trials_are_those_of_the_first_session(tmp_path):
    """`trials` may grow; what the sampler suggests, such as its population, must not change with that."""
    open_search(tmp_path, planned_trials=8)
    assert open_search(tmp_path, planned_trials=50).study.planned_trials == 8


def test_reading_gives_the_state_and_writes_nothing(tmp_path):
    asker = open_search(tmp_path)
    search(asker, 5)
    asker.ask()
    asker.study.set_test_psnr({"abc": 25.0})
    before = (tmp_path / JOURNAL).read_bytes()
    state = read_state(
        read_storage(read_records(tmp_path / JOURNAL)),
        name="run",
        objectives=asker.study.rules.objectives,
        limits={},
        challenge=CHALLENGE,
        settings={},
        ladder_seeds=1,
    )
    assert state == asker.study.show("run", {})
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_kill_before_the_sampler_was_told_of_one_that_is_being_tried(tmp_path):
    asker = open_search(tmp_path)
    climb(asker.study)
    proposal = asker.ask()
    again = asker.study._study.ask()
    again.set_user_attr("same_as", proposal.spec.arch_id)
    reopened = open_search(tmp_path)
    assert [one.number for one in reopened.study.pending] == [proposal.number]
    assert reopened.study._study.trials[again.number].state == TrialState.FAIL


def test_candidates_inherit_from_the_likest_on_the_front(tmp_path):
    """The parent is written down: what is found later changes nothing for what was proposed before."""
    asker = open_search(tmp_path, inherit=True)
    climb(asker.study)
    first = asker.ask()
    assert first.inherits == 0
    asker.study.tell(first, record_of(first, inherits=0))
    for _ in range(6):
        proposal = asker.ask()
        asker.study.tell(proposal, record_of(proposal, inherits=proposal.inherits))
    members = set(front_table(table(asker.study.state))["number"])
    last = asker.ask()
    assert last.inherits in members | {0}
    params = {
        t.user_attrs["number"]: t.params
        for t in asker.study._study.trials
        if "number" in t.user_attrs
    }
    assert (
        asker.observer.find_nearest(
            params[3], {2: params[2], 3: params[3]}, asker.study.rules.baseline
        )
        == 3
    )
    again = open_search(tmp_path, inherit=True)
    assert [one.inherits for one in again.study.pending] == [last.inherits]
    parents = {asker.study.records[number].spec.arch_id for number in (0, last.inherits)}
    assert again.study.list_parents(10) == parents
    assert table(again.study.state)["inherits"].tolist()[1] == 0


def test_without_inherit_nothing_is_started_from(tmp_path):
    asker = open_search(tmp_path)
    climb(asker.study)
    assert asker.ask().inherits is None
