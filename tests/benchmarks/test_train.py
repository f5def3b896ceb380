"""benchmarks/train: whole trainings, tiny ones."""

from benchmarks.train.distillation import make_small, print_gain
from benchmarks.train.finetune import NETWORKS
from benchmarks.train.trainings import join_data, run_training
from search_spaces import published
from tests.search_spaces.tiny import tiny_spec


def test_training_is_run_once_and_then_read(tmp_path, pictures):
    arch, folder = tmp_path / "tiny.json", tmp_path / "run"
    arch.write_text(tiny_spec().to_json())
    keys = [f"arch={arch}", "recipe=short", "recipe.smoke=true", "validations=1", "device=cpu"]
    data = join_data(pictures / "train", pictures / "val")
    result = run_training(folder, *keys, *data, threads=1)
    assert [step for step, _ in result["curve"]] == [0, 3, 3, 6]
    assert run_training(folder, "no such key", threads=1) == result


def test_gain_is_paired_by_seed(capsys):
    lines = [
        {"seed": seed, "distils": distils, "test_db": 26.0 + seed + 0.1 * distils}
        for seed in range(3)
        for distils in (False, True)
    ]
    print_gain(lines)
    assert "of 3 seeds: +0.100 dB (+0.100 to +0.100)" in capsys.readouterr().out
    print_gain(lines[:3])
    assert "too few" in capsys.readouterr().out


def test_networks_are_published_ones():
    assert all(published(name).scale == 4 for name in NETWORKS)
    assert make_small().scale == 4
