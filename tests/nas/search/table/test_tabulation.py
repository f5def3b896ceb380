import contextlib
import dataclasses
from dataclasses import asdict, replace

import pytest

from nas.search.engines.base import Placement
from nas.search.table import tabulation
from nas.search.table.contents import all_members
from nas.search.table.log import Measured, TabulationLog, Trained, open_log
from nas.system.faults import ArchitectureError, MachineError
from nas.system.files.record_file import frame
from nas.system.schema.stored_schema import SchemaError
from tests.nas.search.engines.formula import FormulaEvaluator, SameProcessEngine
from tests.nas.search.studies import small_space, wide_space
from tests.nas.search.table.tables import SIZES, SPACE, contents, table


def test_contents_holds_every_member_once_and_repeats_its_ladder():
    made = contents()
    assert set(made.members) == {spec.arch_id for spec in all_members(SPACE)}
    assert len(made.members) == 24
    assert len(made.repeated) == 8
    assert {made.baseline.arch_id} < made.repeated
    trainings = made.trainings()
    assert trainings[0] == (made.baseline.arch_id, 0)
    assert len(trainings) == len(set(trainings)) == 24 + 2 * 8


def test_contents_is_the_same_for_the_same_seed_alone():
    assert contents(seed=3).repeated == contents(seed=3).repeated
    assert contents(seed=3).repeated != contents(seed=4).repeated


def test_rung_outside_the_space_is_refused_by_name():
    with pytest.raises(
        ValueError, match=r"^ladder: 28x6 \(SPAN, channels x blocks\) is not in the space"
    ):
        contents(ladder_sizes=(*SIZES, "28x6"))


def test_space_that_is_too_large_is_refused():
    huge = wide_space()
    huge = small_space(
        num_blocks=[1, 2, 3, 4, 5, 6], block_channels=[0.5, 0.75, 1.0, 1.25, 1.5, 2.0]
    )
    with pytest.raises(
        ValueError, match=r"^space: it has [\d,]+ points, .* at most 100,000; narrow it"
    ):
        list(all_members(huge))


SETTINGS = {"proxy.steps": 40, "seed": 0}
TRAINED = Trained(arch_id="a", seed=0, quality=None, error="diverged: x")
ENTRY = next(iter(table().entries.values()))
MEASURED = Measured(arch_id="a", cost=ENTRY.cost, latency=ENTRY.latency, seconds=1.0)


def test_log_knows_after_a_kill_what_was_done(tmp_path):
    log = TabulationLog(tmp_path / "t.jsonl", SETTINGS)
    log.add(TRAINED)
    log.add(MEASURED)
    with log.path.open("a") as file:
        file.write('{"arch_id": "a", "see')  # a kill in the middle of a line
    again = TabulationLog(log.path, SETTINGS)
    (notice,) = again.notices
    assert notice.startswith(f"{log.path}: the last record was cut off; its 21 bytes are kept in")
    assert again.trained == log.trained == {("a", 0): TRAINED}
    assert again.measured == log.measured == {"a": MEASURED}
    again.add(replace(TRAINED, seed=1))
    assert set(TabulationLog(log.path, SETTINGS).trained) == {("a", 0), ("a", 1)}


def test_table_is_made_by_one_process_at_a_time(tmp_path):
    path = tmp_path / "new" / "t.parquet"
    with open_log(path, SETTINGS) as log:
        log.add(TRAINED)
        before = log.path.read_bytes()
        with (
            pytest.raises(ValueError, match=r"^out: another process is making .*/t\.parquet; wait"),
            open_log(path, SETTINGS),
        ):
            pass
        assert log.path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["t.jsonl"]
    with open_log(path, SETTINGS) as log:
        assert log.trained == {("a", 0): TRAINED}


def test_table_that_another_process_has_completed_meanwhile_is_not_made_again(tmp_path):
    (tmp_path / "t.parquet").touch()
    with pytest.raises(ValueError, match="is complete"), open_log(tmp_path / "t.parquet", SETTINGS):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, BrokenPipeError, None])
def test_log_in_which_nothing_is_done_goes_with_the_folders_that_were_made(tmp_path, error):
    with (
        contextlib.suppress(*filter(None, [error])),
        open_log(tmp_path / "a/b/t.parquet", SETTINGS),
    ):
        if error:
            raise error
    assert list(tmp_path.iterdir()) == []


def test_log_of_other_settings_is_refused_by_key(tmp_path):
    TabulationLog(tmp_path / "t.jsonl", SETTINGS)
    with pytest.raises(
        ValueError, match=r"^proxy.steps: t.jsonl was begun with 40, now it is 80; give"
    ):
        TabulationLog(tmp_path / "t.jsonl", SETTINGS | {"proxy.steps": 80})


@dataclasses.dataclass
class Settings:
    """As far as the stub needs them: what a training raises, by arch_id."""

    errors: dict


class Breaking(FormulaEvaluator):
    def __init__(self, settings, *, device=None):
        super().__init__()
        self.errors = settings.errors

    def train(self, spec, seed, reference_db, say):
        if spec.arch_id in self.errors:
            raise self.errors[spec.arch_id]
        return super().train(spec, seed, reference_db, say)


def make_table(folder, monkeypatch, errors):
    """Tabulate the made-up members; gives the log, also where the machine failed."""
    monkeypatch.setattr(tabulation, "ProxyEvaluator", Breaking)
    log = TabulationLog(folder / "t.jsonl", SETTINGS)
    tabulation.tabulate(
        contents(), log, Settings(errors), engine=SameProcessEngine(),
        placement=Placement(num_workers=1, num_per_host=1), show=lambda *_: None,
    )  # fmt: skip
    return log


def test_fault_of_the_machine_is_no_member_of_a_table_and_what_was_done_is_kept(
    tmp_path, monkeypatch
):
    arch_id, _ = contents().trainings()[5]
    with pytest.raises(MachineError, match=rf"^train {arch_id} \d: OSError: .*No space left"):
        make_table(tmp_path, monkeypatch, {arch_id: OSError(28, "No space left on device")})
    done = TabulationLog(tmp_path / "t.jsonl", SETTINGS).trained
    assert len(done) == 5
    log = make_table(tmp_path, monkeypatch, {})
    assert len(log.trained) == len(contents().trainings())
    assert not any(line.error for line in log.trained.values())


class TwoAtOnce(SameProcessEngine):
    """Two workers whose results come back together."""

    @property
    def idle(self):
        return 2 - len(self._tasks)


def test_training_on_other_images_loses_none_that_came_with_it(tmp_path, monkeypatch):
    other, _ = contents().trainings()[1]

    class Other(Breaking):
        def train(self, spec, seed, reference_db, say):
            quality = super().train(spec, seed, reference_db, say)
            return replace(quality, base_db=24.0) if spec.arch_id == other else quality

    monkeypatch.setattr(tabulation, "ProxyEvaluator", Other)
    log = TabulationLog(tmp_path / "t.jsonl", SETTINGS)
    with pytest.raises(MachineError, match="the images changed"):
        tabulation.tabulate(
            contents(), log, Settings({}), engine=TwoAtOnce(),
            placement=Placement(num_workers=2, num_per_host=2), show=lambda *_: None,
        )  # fmt: skip
    first, _, beside = contents().trainings()[:3]
    assert set(TabulationLog(log.path, SETTINGS).trained) == {first, beside}


def test_failed_training_of_a_member_stands_in_the_table(tmp_path, monkeypatch):
    arch_id, seed = contents().trainings()[5]
    log = make_table(tmp_path, monkeypatch, {arch_id: ArchitectureError("diverged")})
    assert log.trained[arch_id, seed].error == "ArchitectureError: diverged"


@pytest.mark.parametrize(
    ("change", "misfit"),
    [
        ({"seed": -1}, "record 1, seed: expected a whole number of at least 0, got -1"),
        ({"quality": {"psnr_db": 1.0}}, "record 1, quality.base_db: expected it, got nothing"),
        ({"error": ""}, "record 1: expected a quality where there is no error, and none else"),
        ({"more": 1}, 'record 1: expected arch_id, seed, quality, error; got the field "more"'),
    ],
)
def test_log_whose_record_is_none_of_ours_is_refused_with_its_field(tmp_path, change, misfit):
    log = TabulationLog(tmp_path / "t.jsonl", SETTINGS)
    log.add(TRAINED)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(lines[0] + frame(asdict(TRAINED) | change, 1))
    with pytest.raises(SchemaError) as told:
        TabulationLog(log.path, SETTINGS)
    assert str(told.value) == f"{log.path}, {misfit}"
