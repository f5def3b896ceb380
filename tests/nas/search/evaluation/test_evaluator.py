import dataclasses
import re
import threading
import time

import pytest
import torch
from safetensors import safe_open

from nas.data.patches import SharedImages
from nas.data.pixels.images import ImageError
from nas.measure import lock
from nas.measure.latency.config import LatencyConfig
from nas.measure.lock import exclusive
from nas.search.evaluation import evaluator as evaluator_module
from nas.search.evaluation import training
from nas.search.evaluation import training as trainings
from nas.search.evaluation.evaluator import ProxyEvaluator
from nas.search.evaluation.requests import TrialRequest
from nas.search.evaluation.settings import EvaluatorSettings
from nas.search.model.incumbents import Incumbent
from nas.search.screening import Screen
from nas.system.faults import ArchitectureError
from nas.train.trainer import StageTrainer
from nas.train.weights import weights_path
from search_spaces import published
from tests.nas.search.studies import CHALLENGE, latency_of
from tests.nas.train.proxies import image_set, proxy
from tests.search_spaces.tiny import tiny_spec

SPEC = tiny_spec()
BARELY = {"lr": 1e-9, "muon_lr": None}  # stays at the base, which a linear filter beats


def request(number=1, reference_db=0.0, until=4):
    return TrialRequest(number=number, spec=SPEC, until=until, reference_db=reference_db)


@pytest.fixture
def told():
    return []


@pytest.fixture
def make(tmp_path):
    """An evaluator that takes its latencies from a table."""

    def make(config=None, **changes):
        values = {
            "run": tmp_path, "sets": {"train": image_set("coffee"), "val": image_set("rocket")},
            "memory_mib": 100.0, "cache": None, "scale": 4, "challenge": CHALLENGE,
            "proxy": config or proxy(BARELY), "fidelities": ((config or proxy()).steps,), "latency": None,
            "limits": {}, "device": "cpu", "seed": 0,
            "baseline": published("span"), "replay": {SPEC.arch_id: latency_of(SPEC)},
        }  # fmt: skip
        return ProxyEvaluator(EvaluatorSettings(**values | changes))

    return make


def test_child_starts_from_the_weights_of_a_row_of_its_run(make, told):
    first = make(proxy(steps=12)).trial(request(1, until=12), None, told.append)
    barely = make()
    own = dataclasses.replace(request(2), inherits=1, parent=SPEC)
    child, fresh = (barely.trial(one, None, told.append) for one in (own, request(3)))
    assert child.quality.psnr_db == pytest.approx(first.quality.psnr_db, abs=0.002)
    assert abs(fresh.quality.psnr_db - first.quality.psnr_db) > 0.02
    assert (child.inherits, fresh.inherits) == (1, None)


def test_stuck_run_is_tried_again_and_fails_by_its_kind(make, told):
    record = make().trial(request(1, 99.0), None, told.append)
    assert record.state == "failed"
    assert record.error.startswith("stuck: ")
    assert "is no better than a linear filter's" in record.error
    assert (record.cost is None, record.latency is None, record.quality) == (False, False, None)
    assert told.count("training 0/4") == 2
    assert not weights_path(make().settings.run, SPEC).exists()


def test_run_is_not_called_stuck_where_the_reference_learns_no_more_than_a_filter(make, told):
    record = make().trial(request(1, 0.0), None, told.append)
    assert record.state == "complete"
    assert record.quality.restarts == 0
    assert record.quality.fidelity == 4
    assert told.count("training 0/4") == 1


def test_run_that_pauses_is_not_called_stuck_before_its_end(make, told):
    evaluator = make(fidelities=(2, 4))
    paused = evaluator.trial(request(1, 99.0, until=2), None, told.append)
    assert (paused.state, paused.quality.fidelity, paused.quality.restarts) == ("complete", 2, 0)
    whole = evaluator.advance(request(1, 99.0), paused, told.append)
    assert whole.state == "failed"
    assert whole.error.startswith("stuck: ")


def test_diverged_run_is_tried_again_and_fails_by_its_kind(make, told):
    record = make(proxy({"lr": 1e3}, max_restarts=2)).trial(request(1, 0.0), None, told.append)
    assert record.state == "failed"
    assert record.error.startswith("diverged: the loss was ")
    assert told.count("training 0/4") == 3


def test_second_seed_that_succeeds_is_kept_and_counted(make, told, monkeypatch):
    averaged, seeds = StageTrainer.averaged, []
    start = trainings.start_proxy

    def note(*arguments, seed, **others):
        seeds.append(seed)
        return start(*arguments, seed=seed, **others)

    def first_fails(trainer):
        net = averaged(trainer)
        if len(seeds) == 1:
            with torch.no_grad():
                net.upsampler.conv.bias.fill_(float("nan"))
        return net

    monkeypatch.setattr(trainings, "start_proxy", note)
    monkeypatch.setattr(StageTrainer, "averaged", first_fails)
    record = make().trial(request(1, 0.0), None, told.append)
    assert record.state == "complete"
    assert record.quality.restarts == 1
    assert len(set(seeds)) == 2


@pytest.mark.parametrize(
    ("limits", "error", "measured"),
    [
        ({"params": 10.0}, "limit: params ", False),
        ({"runtime_ratio": 0.01}, "limit: runtime_ratio ", True),
    ],
)
def test_limit_rejects_before_what_comes_after_it_is_paid(make, told, limits, error, measured):
    record = make(limits=limits).trial(request(1, 99.0), None, told.append)
    assert record.state == "rejected"
    assert record.error.startswith(error)
    assert (record.latency is not None) == measured
    assert not any(words.startswith("training") for words in told)


@pytest.mark.parametrize(("hoped", "state"), [(0.1, "rejected"), (0.3, "complete")])
def test_what_cannot_beat_a_front_member_is_not_trained(make, told, hoped, state):
    incumbent = Incumbent(point=(0,), number=3, gain_db=0.2, costs={"runtime_ratio": 1e-9})
    objectives = ("psnr_gain_db", "runtime_ratio")
    screen = Screen(
        bound_db=hoped, gate_db=0.0, goal="front", objectives=objectives, incumbents=(incumbent,)
    )
    record = make().trial(request(1, 0.0), screen, told.append)
    assert record.state == state
    assert record.latency is not None
    assert record.error.startswith("screened: trial 3") == (state == "rejected")
    assert any(words.startswith("training") for words in told) == (state == "complete")


def test_same_trial_gives_the_same_psnr_and_weights_say_over_which_base(make, told):
    config = proxy(steps=6)
    records = [make(config).trial(request(1, until=6), None, told.append) for _ in range(2)]
    same = [dataclasses.replace(r.quality, train_seconds=0.0) for r in records]
    assert same[0] == same[1]
    other = make(config).trial(request(2, until=6), None, told.append)
    assert other.quality.psnr_db != records[0].quality.psnr_db
    with safe_open(weights_path(make().settings.run, SPEC), "pt") as file:
        assert file.metadata()["base"] == "bicubic"
        assert file.metadata()["arch"] == SPEC.to_json()


def whole(record):
    return dataclasses.replace(record.quality, train_seconds=0.0)


@pytest.mark.parametrize("loses_checkpoint", [False, True])
def test_trial_that_paused_ends_as_one_that_did_not(make, told, tmp_path, loses_checkpoint):
    """Every stage in an evaluator of its own, as after a kill."""
    config = proxy(steps=6)
    through = make(config, fidelities=(2, 4, 6)).trial(request(1, until=6), None, told.append)
    assert [steps for steps, _ in through.quality.curve] == [2, 4, 6]
    record, path = None, tmp_path / "checkpoints" / "1.pt"
    for until in (2, 4, 6):
        evaluator = make(config, fidelities=(2, 4, 6))
        record = (
            evaluator.advance(request(1, until=until), record, told.append)
            if record
            else evaluator.trial(request(1, until=until), None, told.append)
        )
        assert record.quality.fidelity == until
        assert path.exists() == (until < 6)
        if loses_checkpoint:
            path.unlink(missing_ok=True)
    assert whole(record) == whole(through)
    with safe_open(weights_path(tmp_path, SPEC), "pt") as file:
        assert file.metadata()["arch"] == SPEC.to_json()


def test_confirmed_trial_is_trained_with_another_seed(make, told):
    config = proxy(steps=6)
    first = make(config).trial(request(until=6), None, told.append)
    again = make(config).confirm(request(until=6), first, told.append)
    assert again.quality.seeds[0] == first.quality.psnr_db != again.quality.seeds[1]
    third = make(config).confirm(request(until=6), again, told.append)
    assert len(set(third.quality.seeds)) == 3
    assert (
        make(config).confirm(request(until=6), first, told.append).quality.seeds
        == again.quality.seeds
    )


def test_confirmation_that_fails_leaves_the_first_training(make, told):
    first = make(proxy(steps=6)).trial(request(until=6), None, told.append)
    broken = make(proxy({"lr": 1e3}, steps=6, max_restarts=0)).confirm(
        request(until=6), first, told.append
    )
    assert dataclasses.replace(broken, seconds={}) == dataclasses.replace(first, seconds={})


def test_paused_trial_trains_no_step_twice(make, told):
    config = proxy(steps=6)
    first = make(config, fidelities=(2, 6)).trial(request(1, until=2), None, told.append)
    seen = []
    evaluator = make(config, fidelities=(2, 6))
    patches = evaluator.trainings.open_patches()
    batch = patches.batch
    patches.batch = lambda step, *others: seen.append(step) or batch(step, *others)
    evaluator.advance(request(1, until=6), first, told.append)
    assert [step for step in seen if step < 6] == [2, 3, 4, 5]


def measurements(folder, until, held):
    """Want the device again and again, hold it for a moment and note when."""
    while not until.is_set():
        with exclusive("cpu", folder=folder):
            start = time.monotonic()
            time.sleep(0.02)
            held.append((start, time.monotonic()))


@pytest.fixture
def busy(tmp_path, monkeypatch):
    """A process that measures all the time, and what a trial does meanwhile: steps and images, held times."""
    folder, done, held, used = tmp_path / "locks", threading.Event(), [], []
    monkeypatch.setattr(lock, "lock_folder", lambda: folder)

    def timed(call):
        def note(*arguments):
            start = time.monotonic()
            result = call(*arguments)
            used.append((start, time.monotonic()))
            return result

        return note

    monkeypatch.setattr(StageTrainer, "step", timed(StageTrainer.step))
    monkeypatch.setattr(training.OverBase, "forward", timed(training.OverBase.forward))
    measurer = threading.Thread(target=measurements, args=(folder, done, held))

    def run(evaluator):
        measurer.start()
        try:
            record = evaluator.trial(
                request(until=evaluator.settings.proxy.steps), None, lambda words: None
            )
        finally:
            done.set()
            measurer.join()
        return record, used, held

    return run


def overlaps(used, held):
    return [
        (one, other) for one in used for other in held if one[0] < other[1] and other[0] < one[1]
    ]


def test_no_step_and_no_image_overlaps_a_measurement_where_trainings_make_way(
    make, busy, monkeypatch
):
    monkeypatch.setattr(training, "MAKES_WAY", ("cpu",))
    record, used, held = busy(make(proxy(steps=12)))
    assert record.state == "complete"
    assert len(used) == 12 + 1  # one image in the val set
    between = [one for one in held if used[0][1] < one[0] < used[-1][0]]
    assert len(between) >= 3
    assert not overlaps(used, held)


def test_on_a_cpu_trainings_go_on_while_a_latency_is_read(make, busy):
    _, used, held = busy(make(proxy(steps=12)))
    assert overlaps(used, held)


def test_replayed_readings_of_other_conditions_are_not_mixed_with_new_ones(make, told):
    config = LatencyConfig(
        mode="cpu", backend="torch", sizes=[(8, 8)], threads=1, tf32=True, warmup_seconds=0, min_rounds=3,
        max_rounds=3, max_seconds=1, target_ci=1,
    )  # fmt: skip
    baseline = published("span")
    replay = {baseline.arch_id: latency_of(baseline)}
    with pytest.raises(RuntimeError, match=r"replayed readings are of .*'stub'.* cannot be mixed"):
        make(latency=config, replay=replay).trial(request(1, 0.0), None, told.append)


def test_a_candidate_whose_steps_take_too_long_is_neither_read_nor_trained(make, told):
    slow = dataclasses.replace(request(), spec=published("span"))
    evaluator = make(
        baseline=tiny_spec(channels=4), time_cap=2.0
    )  # SPAN has some hundred times the work
    record = evaluator.trial(slow, None, told.append)
    assert record.state == "rejected"
    assert re.fullmatch(
        r"time_cap: a training step takes \d+\.\d times the baseline's > 2", record.error
    )
    assert (record.latency, record.quality) == (None, None)
    assert told == ["counting", "timing a step"]


def test_a_candidate_that_is_fast_enough_is_trained(make, told):
    record = make(time_cap=5.0).trial(request(), None, told.append)  # the baseline is SPAN
    assert record.state == "complete"
    assert told[:3] == ["counting", "timing a step", "training 0/4"]


def test_workers_train_on_what_is_shared_and_notice_changed_val_images(
    make, told, tmp_path, monkeypatch
):
    """The same bits as from images that each decodes; and a val image that is exchanged is named."""
    alone = make().trial(request(1), None, told.append)
    train, val = image_set("coffee"), image_set("rocket", role="val")
    copied = dataclasses.replace(val.pairs[0], hr=tmp_path / "val.jpg")
    copied.hr.write_bytes(val.pairs[0].hr.read_bytes())
    opened = dataclasses.replace(val, pairs=(copied,)).with_digests(progress=False)
    with SharedImages(train) as notices:
        assert notices == []
    shared = SharedImages(train)
    with shared:
        evaluator = make(sets={"train": train, "val": opened}, shared=shared)
        with monkeypatch.context() as patch:
            load = type(train).load
            patch.setattr(
                type(train), "load",
                lambda self, i: load(self, i) if self.name == "val" else pytest.fail("decoded"),
            )  # fmt: skip
            record = evaluator.trial(request(1), None, told.append)
        assert record.quality.psnr_db == alone.quality.psnr_db
        copied.hr.write_bytes(train.pairs[0].hr.read_bytes())
        with pytest.raises(ImageError, match=r"val\.jpg: its bytes changed"):
            evaluator.trial(request(2), None, told.append)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    """In the middle of what is stored: in a weight."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def rewrite(**changes):
    def change(path):
        torch.save(torch.load(path, weights_only=True) | changes, path)

    return change


def drop_a_key(path):
    data = torch.load(path, weights_only=True)
    del data["seconds"]
    torch.save(data, path)


def spoil_weights(path):
    data = torch.load(path, weights_only=True)
    next(iter(data["trainer"]["average"].values())).fill_(float("nan"))
    torch.save(data, path)


def refer_to_itself(path):
    data = torch.load(path, weights_only=True)
    data["trainer"]["net"] = data
    torch.save(data, path)


def claim_much(path):
    rewrite(trainer={"net": torch.zeros(1).expand(2**40)})(path)


DAMAGES = {
    "truncated": cut,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"no archive" * 100),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a changed bit": flip_a_bit,
    "another version": rewrite(format=0),
    "another network": lambda path: path.with_name("2.pt").replace(path),
    "seconds as text": rewrite(seconds="long"),
    "a missing key": drop_a_key,
    "weights that are no numbers": spoil_weights,
    "a list": lambda path: torch.save([1, 2], path),
    "itself": refer_to_itself,
    "more than it stores": claim_much,
    "sparse": rewrite(trainer={"net": torch.eye(3).to_sparse()}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_told_and_trained_anew(make, told, tmp_path, damage):
    config, other = proxy(steps=4), tiny_spec(channels=12)
    replay = {spec.arch_id: latency_of(spec) for spec in (SPEC, other)}
    evaluator = make(config, fidelities=(2, 4), replay=replay)
    through = evaluator.trial(request(1), None, told.append)
    paused = evaluator.trial(request(1, until=2), None, told.append)
    another = dataclasses.replace(request(2, until=2), spec=other)
    evaluator.trial(another, None, told.append)
    DAMAGES[damage](tmp_path / "checkpoints" / "1.pt")

    evaluator = make(config, fidelities=(2, 4))
    record = evaluator.advance(request(1), paused, told.append)
    assert whole(record) == whole(through)
    assert record.state == "complete"
    (notice,) = [one for one in evaluator.notices if "anew" in one]
    assert notice.startswith("its checkpoint is damaged (")


@pytest.mark.parametrize("folder", ["weights", "checkpoints"])
def test_training_stands_although_what_is_derived_cannot_be_stored(make, told, tmp_path, folder):
    """A file lies where the folder would be made."""
    (tmp_path / folder).write_text("in the way")
    evaluator = make(proxy(steps=4), fidelities=(2, 4))
    record = evaluator.trial(request(1, until=2), None, told.append)
    record = evaluator.advance(request(1), record, told.append)
    assert (record.state, record.quality.fidelity) == ("complete", 4)
    assert evaluator.notices
    assert all("could not be stored" in notice for notice in evaluator.notices)


def test_network_that_the_builder_refuses_is_to_blame(make, told, monkeypatch):
    def refuse(spec):
        raise ValueError("kernel must be odd")

    monkeypatch.setattr(evaluator_module, "measure_cost", refuse)
    with pytest.raises(ArchitectureError, match=r"cannot be built: ValueError: kernel must be odd"):
        make().trial(request(), None, told.append)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), cut])
def test_test_set_is_left_out_where_weights_are_lost(make, told, damage):
    evaluator = make(proxy(steps=4))
    evaluator.settings.sets["test"] = image_set("rocket", role="test")
    evaluator.trial(request(1), None, told.append)
    assert evaluator.read_test(SPEC, told.append) > 10
    damage(weights_path(evaluator.settings.run, SPEC))
    assert evaluator.read_test(SPEC, told.append) is None
    (notice,) = evaluator.notices
    assert notice.startswith("its weights cannot be read")
