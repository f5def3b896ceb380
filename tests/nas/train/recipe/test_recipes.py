"""The recipes of conf/ against the tables of recipes.md, and what bad ones are told."""

import re

import pytest

from nas.cli import catalog
from nas.cli.invocation import UsageError
from nas.cli.own_files import read_own
from nas.train.recipe.config import check_recipe
from nas.train.run.plan import count_steps, plan_segments
from search_spaces.published import names as published_names
from tests.nas.train.recipe.recipes import (
    NAMES,
    build_recipe,
    load_recipe,
    write_recipe,
    write_stage,
)

# By recipe: trainings one after the other (stages, each as often as it is repeated); thousands of
# steps in all; HR sides (LR ones are negative) and patches of each stage's steps; losses of each
# stage; what is distilled. From the tables of recipes.md and its section 16.7, suggestions included.
L1, L2, FREQUENCIES = "l1", "mse", "fft l1"
GIVEN = {
    "span": (2, 1300, [(256, 64), (512, 64)], [L1, L2], [""] * 2),
    "spanv2": (2, 2000, [(256, 64), (512, 64)], [FREQUENCIES, "gradient mse"], [""] * 2),
    "pds": (1, 100, [(256, 16)], [L1], ["output"]),
    "pkdsr": (2, 150, [(256, 32)] * 2, [L1] * 2, ["output"] * 2),
    "zenosr": (
        5,
        4000,
        [(288, 64), (288, 64), (384, 64), (384, 64), (512, 64)],
        [FREQUENCIES] * 3 + ["fft", L2],
        [""] * 5,
    ),
    "mambagate": (1, 300, [(256, 16)], [L1], ["edge output"]),
    "haesr": (2, 800, [(256, 32), (384, 32)], [L1] * 2, [""] * 2),
    "rfdn_span": (3, 2000, [(256, 64), (384, 64), (512, 64)], [L1, L1, L2], [""] * 3),
    "hfenet": (1, 500, [(-64, 16)], [L1], [""]),
    "vscinet": (2, 2000, [(256, 64), (384, 64)], [L1, L2], [""] * 2),
    "dwmamba": (1, 250, [(256, 32)], [L1], ["output"]),
    "dwmamba_teacher": (3, 700, [(256, 32), (384, 16), (384, 16)], [L1, L1, L2], [""] * 3),
    "dscf_fused": (
        4,
        800,
        [(128, 64), (192, 64), (256, 64), (384, 64)],
        ["charbonnier", "charbonnier fft", "charbonnier fft", "charbonnier"],
        ["affinity output"] * 4,
    ),
    "amcanet": (
        3,
        3000,
        [(256, 64), (384, 32), (480, 32)],
        [FREQUENCIES, FREQUENCIES, "fft mse"],
        [""] * 3,
    ),
    "disp": (
        3,
        469.175,
        [(256, 32), (256, 32), (512, 32)],
        [L1, L1, L2],
        ["", "affinity", ""],
    ),
    "disp_teacher": (1, 268.1, [(256, 32)], [L1], [""]),
    "errn2": (
        13,
        13000,
        [(-64, 16), (-128, 16), (-128, 16), (-160, 16)],
        [L1, L1, L2, L2],
        [""] * 4,
    ),
    "safmn_deep15": (
        2,
        750,
        [(-64, 32)] * 2,
        ["charbonnier laplacian"] * 2,
        ["", "features"],
    ),
}
OURS = {"default", "finetune", "short"}


def test_every_recipe_is_in_the_table_and_every_entry_has_one():
    assert set(NAMES) == GIVEN.keys() | OURS
    relatives = {"dan", "dscf", "spanf", "tssr"}  # of earlier challenges
    assert {name for name in published_names() if name not in GIVEN} == relatives


@pytest.mark.parametrize("name", GIVEN)
def test_recipe_has_the_stages_of_the_tables(name):
    recipe = load_recipe(name)
    num_trainings, kilosteps, patches, losses, distill = GIVEN[name]
    segments = plan_segments(recipe)
    assert len(segments) == num_trainings
    assert count_steps(segments) == kilosteps * 1000

    stages = list(recipe.stages.values())
    sides = [stage.patches.hr or [-side for side in stage.patches.lr] for stage in stages]
    counts = [stage.patches.batch_size * stage.patches.accumulate for stage in stages]
    assert [(side[0], count) for side, count in zip(sides, counts, strict=True)] == patches
    assert [" ".join(sorted(stage.losses)) for stage in stages] == losses
    assert [" ".join(sorted(stage.distill)) for stage in stages] == distill
    assert bool(recipe.teacher) == recipe.needs_teacher
    assert recipe.scale == 4


@pytest.mark.parametrize("name", NAMES)
def test_recipe_says_what_is_suggested_and_where_it_comes_from(name):
    recipe, text = load_recipe(name), catalog.text(f"recipe/{name}")
    assert recipe.source
    if name not in OURS:
        assert "arXiv 2604.03198, section 4" in recipe.source
        assert "suggested" in text


def test_values_that_the_report_gives_are_these():
    """Those of learning rates, shares and weights that are plain in the tables."""
    zenosr = list(load_recipe("zenosr").stages.values())
    assert [stage.optimizer.lr for stage in zenosr] == [2e-3, 2e-3, 1e-3, 5e-4, 2e-4]
    assert {tuple(stage.schedule.milestones) for stage in zenosr} == {(0.25, 0.5, 0.75, 0.875)}
    assert [stage.sources["lsdir"].first for stage in zenosr] == [10000, 10000, None, None, None]

    haesr = list(load_recipe("haesr").stages.values())
    assert [stage.optimizer.lr for stage in haesr] == [5e-4, 5e-5]
    steps = [[round(m * s.steps, -3) for m in s.schedule.milestones] for s in haesr]
    assert steps == [[250e3, 400e3, 450e3, 475e3], [100e3, 200e3]]

    fused = list(load_recipe("dscf_fused").stages.values())
    assert [s.losses["fft"].weight if "fft" in s.losses else 0 for s in fused] == [
        0, [0.0, 0.5], [0.5, 0.0], 0,
    ]  # fmt: skip
    assert all(stage.sources["lsdir"].share == 0.2 for stage in fused)
    assert {s.distill["output"].weight for s in fused} == {0.1}
    assert {s.distill["affinity"].weight for s in fused} == {0.01}

    shapes = load_recipe("spanv2").stages["multi_scale"].patches.lr_shapes(4)
    assert len(shapes) == 8
    assert {(64, 64), (64, 96), (96, 64), (128, 96)} <= set(shapes)
    (student,) = load_recipe("dwmamba").stages.values()
    assert (student.losses["l1"].weight, student.distill["output"].weight) == (0.5, 1.0)
    (scan,) = load_recipe("mambagate").stages.values()
    assert round(scan.schedule.milestones[0] * scan.steps) == 200_000
    assert [s.repeats for s in load_recipe("errn2").stages.values()] == [5, 3, 3, 2]
    assert load_recipe("errn2").stages["a"].schedule.periods == [0.25] * 4


@pytest.mark.parametrize(
    ("sides", "scale", "shapes"),
    [
        ({"lr": [64, 16, [8, 9]], "hr": None}, 3, [(24, 24), (16, 16), (8, 9)]),
        ({"lr": [[64, 128], [10, 1000]], "hr": None}, 4, [(12, 24), (10, 24)]),
        ({"lr": None, "hr": [256, [256, 384], 32]}, 4, [(24, 24), (15, 24), (8, 8)]),
        ({"lr": None, "hr": [255, 30]}, 3, [(32, 32), (10, 10)]),
    ],
)
def test_smoke_run_cuts_small_patches_of_like_shapes(sides, scale, shapes):
    patches = {**sides, "batch_size": 64, "accumulate": 8}
    stages = write_recipe(only=write_stage(patches=patches, steps=10**6, repeats=2))
    recipe = build_recipe(stages | {"smoke": True})
    for _, stage in recipe.segments():
        assert stage.patches.lr_shapes(scale) == shapes
        assert (stage.steps, stage.patches.batch_size, stage.patches.accumulate) == (3, 2, 1)
    assert len(list(recipe.segments())) == 2


@pytest.mark.parametrize("name", NAMES)
def test_recipe_may_be_copied_into_a_file_of_ones_own(name, tmp_path):
    """Such files are read by another reader than Hydra's; anchors mean the same to it."""
    path = tmp_path / "mine.yaml"
    path.write_text(catalog.text(f"recipe/{name}"))
    assert build_recipe(read_own("recipe", path, ())) == load_recipe(name)


def refusal_of(tree):
    """Return the one line that a recipe is refused with."""
    with pytest.raises((UsageError, ValueError)) as caught:
        build_recipe(tree)
    text = str(caught.value)
    assert "\n" not in text
    notes = getattr(caught.value, "__notes__", [])
    return f"{notes[0]}: {text}" if notes else text


L1_LOSS = {"_target_": "nas.losses.pixel.L1", "weight": 1.0}
OUTPUT = {"_target_": "nas.train.distill.terms.Output", "loss": L1_LOSS}


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ({"stepps": 3}, "unknown key 'recipe.stages.last.stepps': Stage takes steps, .*steps"),
        ({"patches": {"lr": [8], "hr": None, "batch_size": 2, "accumulate": 1, "size": 3}},
         "unknown key 'recipe.stages.last.patches.size': Patches takes lr, hr"),
        ({"losses": {"l3": {"_target_": "nas.losses.pixel.L3", "weight": 1.0}}},
         "recipe.stages.last.losses.l3._target_: 'nas.losses.pixel.L3' is not run"),
        ({"losses": {"l1": 1.0}}, "recipe.stages.last.losses.l1: expected .*Loss"),
        ({"losses": {"l1": {**L1_LOSS, "weight": -1}}},
         "recipe.stages.last.losses.l1: L1: weight must be at least 0"),
        ({"losses": {"l1": OUTPUT}},
         "recipe.stages.last: losses.l1: a Output compares with a teacher; it belongs under distill"),
        ({"distill": {"l1": OUTPUT}},
         "recipe.stages.last: losses and distill both have l1; give one another name"),
        ({"distill": {"l1": L1_LOSS}}, "recipe.stages.last.distill.l1: expected .*got a L1"),
        ({"losses": {}}, "recipe.stages.last: losses is empty"),
        ({"patches": {"lr": [8], "hr": [32], "batch_size": 2, "accumulate": 1}},
         "recipe.stages.last.patches: patches: give shapes of lr or of hr"),
        ({"form": "folded"}, "recipe.stages.last.form: expected one of train, plain"),
        ({"ema": 1}, "recipe.stages.last: ema must be at least 0 and below 1, got 1"),
        ({"sources": {"div2k": {"first": 0}}}, "recipe.stages.last.sources.div2k: first must be"),
        ({"sources": {"div2k": {"weight": 1}, "lsdir": {}}},
         "recipe.stages.last: sources: div2k has a weight, others have null"),
        ({"sources": {}}, "recipe.stages.last: sources is empty; null takes all"),
        ({"early_stop": {"patience": 0, "least_db": 0.002}},
         "recipe.stages.last.early_stop: patience must be at least 1"),
        ({"schedule": {"_target_": "nas.train.recipe.schedules.MultiStep", "warmup": 0.0,
                       "milestones": [250000], "decay": 0.5}},
         "recipe.stages.last.schedule: milestones must be from 0 to 1, a share, got 250000"),
    ],
)  # fmt: skip
def test_bad_stage_is_refused_in_one_line_before_any_stage_runs(last, message):
    """The bad stage is the last one: all of them are read before the first is trained."""
    assert re.match(
        message, refusal_of(write_recipe(first=write_stage(), last=write_stage(**last)))
    )


@pytest.mark.parametrize(
    ("name", "scale", "has_teacher", "message"),
    [
        ("zenosr", 2, True, "recipe: it is for networks of x4, arch is of x2; take recipe=default"),
        ("mambagate", 4, False,
         r"recipe\.stages\.distilled\.distill: it needs a teacher \(SwinIR, .*\), and none is "
         "given; give teacher="),
        ("disp", 4, False, r"recipe\.stages\.distilled\.distill: it needs a teacher"),
    ],
)  # fmt: skip
def test_recipe_that_does_not_fit_is_refused(name, scale, has_teacher, message):
    with pytest.raises(ValueError, match=message):
        check_recipe(load_recipe(name), scale, has_teacher=has_teacher)
    check_recipe(load_recipe(name), 4, has_teacher=True)


@pytest.mark.parametrize(("side", "shape"), [(66, "66x66"), ([64, 70], "64x70")])
def test_patch_in_hr_pixels_is_a_multiple_of_the_scale(side, shape):
    patches = {"lr": None, "hr": [64, side], "batch_size": 2, "accumulate": 1}
    recipe = build_recipe(write_recipe(first=write_stage(), last=write_stage(patches=patches)))
    with pytest.raises(
        ValueError,
        match=rf"^recipe\.stages\.last\.patches\.hr: {shape} is no multiple of the scale 4; a "
        "recipe for x4 needs other sides$",
    ):
        check_recipe(recipe, 4, has_teacher=False)


def test_sources_that_the_data_lack_are_said_stage_by_stage():
    recipe = load_recipe("vscinet")
    assert recipe.describe_sources({"div2k", "lsdir", "flickr2k"}) == [
        "stage l1: flickr2k is not named and does not train",
        "stage l2: lsdir is not named and does not train",
    ]
    assert load_recipe("haesr").describe_sources({"div2k", "lsdir"}) == []
    assert load_recipe("short").describe_sources({"builtin"}) == []
    assert recipe.describe_sources({"div2k", "lsdir"}) == [
        "stage l2: the data have no flickr2k, the others train without; lsdir is not named and does "
        "not train"
    ]
    assert recipe.describe_sources({"builtin"}) == [
        "stage l1: the data have no div2k, lsdir: all their images train",
        "stage l2: the data have no div2k, flickr2k: all their images train",
    ]
