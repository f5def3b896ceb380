"""The recipes of conf/, composed by Hydra and built as a command builds them."""

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from nas.cli import catalog, schema
from nas.train.recipe.config import Recipe

NAMES = catalog.options("recipe")


def compose_recipe(name, *overrides):
    """Return a recipe as plain containers, not checked."""
    with initialize_config_module("nas.conf", version_base="1.3"):
        tree = compose(f"recipe/{name}", overrides=list(overrides))
    return OmegaConf.to_container(tree, resolve=True)["recipe"]


def build_recipe(tree):
    """Check the keys and values of a recipe, and build it."""
    recipe = schema.build(schema.conform(tree, Recipe, "recipe", {}), "recipe")
    assert isinstance(recipe, Recipe)
    return recipe


def load_recipe(name, *overrides):
    return build_recipe(compose_recipe(name, *overrides))


def write_stage(**changes):
    """Return a small stage as a configuration holds it."""
    stage = {
        "steps": 10,
        "patches": {"lr": None, "hr": [64], "batch_size": 2, "accumulate": 1},
        "losses": {"l1": {"_target_": "nas.losses.pixel.L1", "weight": 1.0}},
        "optimizer": {
            "_target_": "nas.train.recipe.optimizers.Adam",
            "lr": 1e-4,
            "betas": [0.9, 0.99],
            "decay": 0.0,
        },
        "schedule": {"_target_": "nas.train.recipe.schedules.Constant"},
        "ema": 0.9,
        "clip": None,
        "form": "plain",
    }
    return stage | changes


def write_recipe(**stages):
    """Return a recipe of some stages as a configuration holds it."""
    return {"stages": stages, "scale": None, "smoke": False, "source": "a test"}
