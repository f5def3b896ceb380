"""nas train: from an architecture to weights that other commands read."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from nas.cli.door import main
from nas.train.run.log import read_log
from nas.train.run.session import LAST
from nas.train.weights import read_metadata
from search_spaces import build, published
from tests.disks import fill, mounted
from tests.nas.commands.small_training import list_keys
from tests.search_spaces.tiny import tiny_spec

SPEC = tiny_spec(channels=12, taps="all")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path, monkeypatch, pictures):
    """An empty folder with an architecture, which commands run in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(SPEC.to_json())
    return tmp_path


@pytest.fixture
def settings(pictures):
    return list_keys(pictures)


def refuse(capsys, *arguments):
    """Run a training that has to be refused; give its one line."""
    capsys.readouterr()
    assert main(["train", *map(str, arguments)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def read_weights(run):
    return load_file(run / "weights" / f"{SPEC.arch_id}.safetensors")


def test_training_gives_weights_figures_and_a_page(place, settings, pictures, capsys):
    assert main(["train", *settings, "run=first"]) == 0
    printed = capsys.readouterr().out
    run = place / "first"
    result = json.loads((run / "result.json").read_text())
    assert (result["recipe"], result["steps"], result["arch_id"]) == ("short", 6, SPEC.arch_id)
    assert f"{result['psnr_db']:.3f} dB on val" in printed
    page = (run / "report.html").read_text()
    for title in ("PSNR", "Losses", "Learning rate", "Samples", "Stages"):
        assert f"<h2>{title}</h2>" in page
    assert page.count('<img src="data:image/png;base64,') == 2 + 5  # HR, bicubic, validations

    # The weights are those of the network that was validated last.
    table = place / "psnr.csv"
    weights = run / "weights" / f"{SPEC.arch_id}.safetensors"
    assert read_metadata(weights).base is None
    data = ["data=folder", f"data.val={pictures / 'val'}"]
    assert main(["evaluate", f"weights={weights}", *data, f"out={table}"]) == 0
    assert pd.read_csv(table)["psnr_db"].mean() == pytest.approx(result["psnr_db"], abs=1e-4)

    # What is done is not done again, and the page is made anew of the log.
    before = (run / LAST).read_bytes()
    assert main(["train", "run=first"]) == 0
    assert "Trained already" in capsys.readouterr().out
    assert (run / LAST).read_bytes() == before
    (run / "report.html").unlink()
    assert main(["report", "run=first"]) == 0
    assert (run / "report.html").read_text() == page


def test_test_images_are_read_once_at_the_end(place, settings):
    noise = torch.randint(0, 255, (64, 64, 3), generator=torch.Generator().manual_seed(0))
    (place / "test").mkdir()
    Image.fromarray(noise.byte().numpy()).save(place / "test" / "noise.png")
    assert main(["train", *settings, "data.test=test", "run=first"]) == 0
    assert json.loads((place / "first" / "result.json").read_text())["test_psnr_db"] > 0


def test_stopped_training_says_how_to_go_on_and_comes_to_the_same_weights(place, settings):
    settings = [*settings, "recipe.smoke=false", "steps=40", "validations=4"]
    assert main(["train", *settings, "run=through"]) == 0

    command = [sys.executable, "-m", "nas", "train", *settings, "run=stopped"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=place) as process:
        for line in process.stdout:
            if ": step " in line and ": step 0 " not in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "Go on with: nas train run=stopped" in rest
    kept = read_weights(place / "stopped")  # usable as it is
    assert kept.keys() == read_weights(place / "through").keys()

    assert main(["train", "run=stopped"]) == 0
    wanted, found = read_weights(place / "through"), read_weights(place / "stopped")
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_another_configuration_or_other_images_are_refused(place, settings, pictures, capsys):
    shutil.copytree(pictures / "train", place / "train")
    settings = [*settings, "data.train=train"]
    assert main(["train", *settings, "run=first"]) == 0
    (place / "first" / "result.json").unlink()  # as if it had been stopped

    line = refuse(capsys, *settings, "run=first", "recipe.stages.whole.steps=7")
    assert "recipe.stages.whole.steps: run=first was started with 40000, now it is 7" in line
    assert "seed: run=first was started with 0" in refuse(capsys, "run=first", "seed=3")
    assert "recipe" in refuse(capsys, "run=first", "recipe=default")

    image = next((place / "train").rglob("*.png"))
    Image.open(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    assert "data.train: the images of run=first changed" in refuse(capsys, "run=first")


def test_trainings_and_searches_do_not_share_a_folder(place, settings, tiny_copy, capsys):
    assert "run=tiny: it is a search" in refuse(capsys, *settings, "run=tiny")
    assert main(["train", *settings, "run=first"]) == 0
    assert main(["search", "run=first"]) == 2
    assert "it is a training, not a search" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["recipe.stages.whole.step=7"], "recipe.stages.whole.step"),
        (["recipe.stages.whole.losses={more:{_target_:nas.losses.pixel.L3,weight:1}}"], "L3"),
        (["recipe=span", "arch=x2.json"], "recipe: it is for networks of x4, arch is of x2"),
        (["recipe.stages.residual.patches.lr=[400]", "recipe.smoke=false"], "stages.residual:"),
        (["recipe.stages.residual.base=none", "recipe.stages.whole.base=bicubic"], "whole.base"),
        (["recipe.stages.whole.frozen=['*']"], "recipe.stages.whole:"),
        (["init=proxy"], "init=proxy needs arch=RUN:PICK"),
        (["init=weights"], "init=weights needs weights=FILE"),
        (["weights=none.pth"], "none.pth"),
        (["recipe=pds"], "recipe.stages.tail.distill: it needs a teacher"),
        (["recipe=pds", "teacher=x2.safetensors"], "x2"),
        (["hours=0.00001", "recipe.smoke=false"], "hours=1e-05 is too short"),
        (["hours=-1"], "hours must be above 0"),
        (["validations=0"], "validations must be at least 1"),
        (["data.val=nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_nothing_stays(
    place, settings, capsys, overrides, words
):
    half = tiny_spec(channels=12, scale=2)
    (place / "x2.json").write_text(half.to_json())
    net = build(half)
    save_file(net.state_dict(), place / "x2.safetensors", metadata={"arch": half.to_json()})
    before = sorted(place.rglob("*"))
    assert words in refuse(capsys, *settings, *overrides, "run=runs/first")
    assert sorted(place.rglob("*")) == before


def test_val_images_that_train_too_are_left_out_of_training(place, settings, pictures, capsys):
    line = refuse(capsys, *settings, f"data.train={pictures / 'val'}", "run=first")
    assert "train" in line
    assert not (place / "first").exists()


def test_diverged_training_names_stage_and_loss_and_keeps_the_last_good(place, settings, capsys):
    settings = [*settings, "recipe.smoke=false", "steps=40", "validations=8"]
    broken = [
        "recipe.stages.whole.optimizer.lr=1e30",
        "recipe.stages.whole.optimizer.relative=false",
        "recipe.stages.whole.clip=null",
    ]
    line = refuse(capsys, *settings, *broken, "run=first")
    assert "recipe: diverged: stage whole: " in line
    assert "the last good checkpoint is kept in first" in line
    saved = torch.load(place / "first" / LAST, weights_only=True)
    assert all(value.isfinite().all() for value in saved["trainer"]["net"].values())


def test_pick_of_a_search_gets_its_weights_beside_its_trial(place, settings, tiny_copy, capsys):
    row = pd.read_csv(tiny_copy / "front.csv").iloc[0]
    pick = f"tiny:{row['number']}"
    assert main(["train", *settings, f"arch={pick}", "run=smoke"]) == 0
    assert not (tiny_copy / "trained").exists()  # it was no training in earnest
    settings = [*settings, "recipe.smoke=false", "steps=20"]
    capsys.readouterr()
    assert main(["train", *settings, f"arch={pick}", "init=proxy", "run=first"]) == 0
    assert "Kept beside its trial" in capsys.readouterr().out
    kept = tiny_copy / "trained" / f"{row['arch_id']}.safetensors"
    assert kept.read_bytes() == (place / "first" / "weights" / kept.name).read_bytes()

    # The search's tables show the trained PSNR, and exports take the trained weights.
    assert main(["report", "run=tiny"]) == 0
    trained_db = json.loads((place / "first" / "result.json").read_text())["psnr_db"]
    table = pd.read_csv(tiny_copy / "front.csv").set_index("number")
    assert table.loc[row["number"], "trained_psnr_db"] == pytest.approx(trained_db)
    assert "trained PSNR" in (tiny_copy / "report.html").read_text()
    capsys.readouterr()
    assert main(["export", "run=tiny", f"pick={row['number']}", "out=mine"]) == 0
    assert "These are trained weights, by recipe short" in capsys.readouterr().out
    written = json.loads((place / "mine" / "arch.json").read_text())
    assert written["base"] is None
    assert written["provenance"]["training"]["recipe"] == "short"


def test_weights_of_another_architecture_are_kept_as_far_as_they_fit(place, settings, capsys):
    wide = tiny_spec(channels=16, num_blocks=2, taps="all")
    net = build(wide)
    save_file(net.state_dict(), place / "wide.safetensors", metadata={"arch": wide.to_json()})
    assert main(["train", *settings, "weights=wide.safetensors", "run=first"]) == 0
    printed = capsys.readouterr().out
    assert "not kept, this network has no blocks.2.conv1" in printed


def test_released_weights_train_whole_images(place, settings, capsys):
    net = build(SPEC)
    save_file(net.state_dict(), place / "mine.safetensors", metadata={"arch": SPEC.to_json()})
    assert main(["train", *settings, "weights=mine.safetensors", "run=first"]) == 0
    assert "every stage trains whole images" in capsys.readouterr().out


def test_full_disk_keeps_the_checkpoint_that_was_there(place, settings):
    small = place / "small"
    small.mkdir()
    with mounted(small, "size=700k"):
        settings = [*settings, "recipe.smoke=false", "steps=400", "validations=200"]
        command = [sys.executable, "-m", "nas", "train", *settings, "run=small/run"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place
        ) as process:
            for line in process.stdout:
                if ": step " in line and (small / "run" / LAST).exists():
                    fill(small / "filler")
                    break
            _, error = process.communicate()
        assert process.returncode == 1, error
        assert "the last checkpoint is kept: nas train run=small/run" in error.splitlines()[-1]
        saved = torch.load(small / "run" / LAST, weights_only=True)
        assert saved["trainer"]["done"] > 0
        assert not list((small / "run").rglob("*.partial"))


def test_published_network_is_named_in_the_folder(place, settings):
    assert main(["train", *settings, "arch=published/span"]) == 0
    (run,) = (place / "runs").iterdir()
    assert run.name.endswith("_train_span")
    assert (run / "weights" / f"{published('span').arch_id}.safetensors").is_file()


def test_members_of_a_front_are_trained_in_turn(place, settings, tiny_copy, capsys):
    members = pd.read_csv(tiny_copy / "front.csv")
    front = [*settings, "arch=tiny:front", "run=all"]
    assert main(["train", *front, "recipe.smoke=false", "budget_hours=0.01"]) == 0
    printed = capsys.readouterr().out
    assert f"member {len(members)} of {len(members)}: all/" in printed
    kept = {path.stem for path in (tiny_copy / "trained").iterdir()}
    assert kept == set(members["arch_id"])

    assert main(["report", "run=all"]) == 0
    assert capsys.readouterr().out.count("by recipe short") == len(members)

    # Its own folder is enough to go on; what is trained is not trained again.
    assert main(["train", "run=all"]) == 0
    assert capsys.readouterr().out.count("Trained already") == len(members)
    line = refuse(capsys, "run=all", "budget_hours=0.02")
    assert "budget_hours: run=all was started with 0.01, now it is 0.02" in line


def test_members_side_by_side_come_to_the_same_weights(
    place, settings, tiny_copy, capsys, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    front = [*settings, "arch=tiny:front", "recipe.smoke=false", "steps=20"]
    assert main(["train", *front, "run=turn"]) == 0
    capsys.readouterr()
    assert main(["train", *front, "run=beside", "per_device=2"]) == 0
    printed = capsys.readouterr().out
    members = sorted(path.name for path in (place / "turn").iterdir() if path.is_dir())
    members.remove(".hydra")
    for number in range(1, len(members) + 1):
        assert f"member {number}: PSNR " in printed
    for member in members:
        ours, theirs = (
            load_file(next((place / top / member / "weights").iterdir()))
            for top in ("beside", "turn")
        )
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_members_side_by_side_end_together_and_go_on(place, settings, tiny_copy):
    front = [*settings, "arch=tiny:front", "recipe.smoke=false", "steps=4000", "run=beside"]
    command = [sys.executable, "-m", "nas", "train", *front, "validations=400", "per_device=2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=place) as process:
        heard = set()
        for line in process.stdout:
            if ": step " in line and ": step 0 " not in line:
                heard.add(line.partition(":")[0])
            if len(heard) == 2:
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stdout.read()
    assert process.returncode == 143
    for member in ("member 1", "member 2"):
        assert f"{member}: Stopped and saved. Go on with: nas train run=beside" in rest
    assert rest.endswith("\nGo on with: nas train run=beside\n")


def test_member_that_fails_ends_those_beside_it(place, settings, tiny_copy):
    front = [*settings, "arch=tiny:front", "recipe.smoke=false", "steps=4000", "run=beside"]
    wild = [f"recipe.stages.residual.optimizer.{key}=1e9" for key in ("lr", "muon_lr")]
    wild += ["recipe.stages.residual.clip=null", "recipe.stages.residual.schedule.warmup=0"]
    command = [sys.executable, "-m", "nas", "train", *front, *wild, "per_device=2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == 2
    assert "nas train: recipe: " in done.stderr


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["per_device=2"], "per_device is for arch=RUN:front, got arch=mine.json"),
        (["arch=tiny:front", "per_device=0"], "per_device must be at least 1, got 0"),
        (["budget_hours=1"], "budget_hours is for arch=RUN:front, got arch=mine.json"),
        (["arch=tiny:front", "budget_hours=1", "hours=1"], "leave one out"),
        (["arch=tiny:front", "budget_hours=0"], "budget_hours must be above 0"),
        (["arch=none:front"], "none"),
    ],
)
def test_budgets_that_mean_nothing_are_refused(
    place, settings, tiny_copy, capsys, overrides, words
):
    assert words in refuse(capsys, *settings, *overrides)
    assert not (place / "runs").exists()


def test_training_that_was_stopped_before_its_trial_got_it_is_kept_later(
    place, settings, tiny_copy, capsys
):
    pick = f"tiny:{pd.read_csv(tiny_copy / 'front.csv')['number'].iloc[0]}"
    settings = [*settings, "recipe.smoke=false", "steps=20", f"arch={pick}"]
    (tiny_copy / "trained").write_text("in the way")
    assert main(["train", *settings, "run=first"]) == 0
    assert "nas train run=first tries again" in capsys.readouterr().out
    (tiny_copy / "trained").unlink()
    assert main(["train", "run=first"]) == 0
    assert "Kept beside its trial" in capsys.readouterr().out

    # A worse training leaves a better one where it is.
    assert main(["train", *settings, "steps=2", "validations=1", "run=worse"]) == 0
    assert "Beside its trial stays an earlier training" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["train.jsonl", "weights", "checkpoints", "samples"])
def test_links_in_a_strangers_folder_are_refused(place, settings, capsys, name):
    assert main(["train", *settings, "run=first"]) == 0
    (place / "first" / "result.json").unlink()
    kept = place / "kept"
    (place / "first" / name).rename(kept)
    (place / "first" / name).symlink_to(kept)
    assert f"run=first: {name} is a link" in refuse(capsys, "run=first")


def test_picture_of_a_stranger_is_no_other_file(place, settings):
    assert main(["train", *settings, "run=first"]) == 0
    secret = place / "secret.png"
    secret.write_text("a secret")
    (place / "first" / "samples" / "HR.png").unlink()
    (place / "first" / "samples" / "HR.png").symlink_to(secret)
    (place / "first" / "samples" / "bicubic.png").write_text("no picture")
    assert main(["report", "run=first"]) == 0
    assert (place / "first" / "report.html").read_text().count("<figcaption>") == 5


def test_folder_with_other_files_is_left_alone(place, settings, capsys):
    (place / "mine").mkdir()
    (place / "mine" / "notes.txt").write_text("mine")
    assert "holds other files (notes.txt)" in refuse(capsys, *settings, "run=mine")
    assert [path.name for path in (place / "mine").iterdir()] == ["notes.txt"]

    # What a kill leaves before the configuration is written is taken over.
    (place / "killed").mkdir()
    (place / "killed" / "arch.json").write_text("{}")
    assert main(["train", *settings, "run=killed"]) == 0


def test_later_stage_that_makes_it_worse_does_not_replace_the_best(place, settings):
    keys = [
        "recipe.smoke=false",
        "steps=40",
        "recipe.stages.whole.optimizer.lr=0.05",
        "recipe.stages.whole.optimizer.relative=false",
    ]
    assert main(["train", *settings, *keys, "run=first"]) == 0
    result = json.loads((place / "first" / "result.json").read_text())
    _, readings = read_log(place / "first")
    assert result["psnr_db"] == max(one.psnr_db for one in readings if one.stage == "whole")
    assert result["psnr_db"] > 30


def test_structural_similarity_is_a_loss_that_recipes_name(place, settings):
    loss = "recipe.stages.whole.losses={ssim:{_target_:nas.losses.structure.SSIM,weight:0.1}}"
    assert main(["train", *settings, loss, "run=first"]) == 0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("losses.more={weight:1}", "unknown key 'recipe.stages.whole.losses.more"),
        ("losses.more={_target_:os.system,command:x}", "os.system"),
        ("losses.more={_target_:nas.losses.pixel.L1,weigth:1}", "weigth"),
        ("losses.more={_target_:nas.score.Gate,valid_db:1}", "recipe.stages.whole.losses.more"),
        ("more={_target_:nas.losses.pixel.L1,weight:1}", "unknown key 'recipe.stages.whole.more"),
    ],
)
def test_only_what_fits_is_added_to_a_stage(place, settings, capsys, override, words):
    assert words in refuse(capsys, *settings, f"recipe.stages.whole.{override}", "run=first")
    assert not (place / "first").exists()
