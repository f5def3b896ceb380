"""Composition over a small configuration: groups chosen as lists, experiments, keys of other options."""

import importlib
import sys

import pytest

from nas.cli import catalog
from nas.cli.composition import compose_command
from nas.cli.invocation import UsageError

FILES = {
    "commands/search": """
        # @package _global_
        defaults:
          - _self_
          - /space: span
          - /data: [photos]
          - /experiment: null
        trials: 24  # how many
        seed: 0  # of everything
        limits:
          params: null  # at most so many "numbers: #1"
                        # of the inference form
        """,
    "space/span": """
        # SPAN and its parents
        channels: [16, 28]  # to choose from
        """,
    "space/spanv2": """
        # SPANV2
        channels: [32]
        head: 3x3  # kernel of the head
        """,
    "data/photos": """
        # @package data.photos
        _target_: x.Photos
        """,
    "data/div2k": """
        # @package data.div2k
        _target_: x.Folder
        train: null
        """,
    "experiment/small": """
        # @package _global_
        # a small run
        defaults:
          - override /space: spanv2
        trials: 3
        """,
}


@pytest.fixture(autouse=True)
def conf(tmp_path, monkeypatch):
    package = tmp_path / "trial_conf"
    for name, text in FILES.items():
        path = package / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").splitlines()
        path.write_text("\n".join(line[8:] for line in lines))
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(catalog, "PACKAGE", "trial_conf")
    importlib.invalidate_caches()
    yield
    sys.modules.pop("trial_conf", None)


def compose(*overrides):
    return compose_command("search", overrides)


def error(*overrides):
    with pytest.raises(UsageError) as error:
        compose(*overrides)
    return str(error.value)


def test_defaults():
    composition = compose()
    assert composition.tree == {
        "trials": 24,
        "seed": 0,
        "limits": {"params": None},
        "space": {"channels": [16, 28]},
        "data": {"photos": {"_target_": "x.Photos"}},
    }
    assert composition.choices == {"space": "span", "data": ["photos"], "experiment": None}
    assert composition.changed == ()


def test_several_options_of_a_group_stand_side_by_side():
    assert list(compose("data=[photos,div2k]").tree["data"]) == ["photos", "div2k"]
    assert compose("data=[photos,div2k]").choices["data"] == ["photos", "div2k"]
    assert list(compose("data=div2k").tree["data"]) == ["div2k"]
    assert "only one data can be chosen" in error("data=[div2k,div2k]")
    assert "several are chosen as data=[photos,div2k]" in error("data=photos,div2k")


def test_an_experiment_sets_choices_and_values_and_the_user_has_the_last_word():
    tree = compose("experiment=small").tree
    assert (tree["trials"], tree["space"]) == (3, {"channels": [32], "head": "3x3"})
    assert compose("experiment=small", "trials=5").tree["trials"] == 5
    assert compose("trials=5", "experiment=small").changed == ("trials=5", "experiment=small")


def test_keys_of_a_chosen_option_are_known_and_those_of_another_are_pointed_to():
    assert compose("space.head=5x5", "space=spanv2").tree["space"]["head"] == "5x5"
    assert error("space.head=5x5").endswith("; space.head is a key of space=spanv2")
    assert error("data.div2k.train=x").endswith("; data.div2k.train is a key of data=div2k")


def test_limits_are_keys():
    composition = compose("limits.params=150e3", "seed=0")
    assert composition.tree["limits"] == {"params": 150e3}
    assert composition.changed == ("limits.params=150e3",)
    assert error("limits.flops=1") == "unknown key 'limits.flops': the keys of limits are params"


def test_unknown_keys_are_refused_among_groups_too():
    assert error("spce=span").endswith("the keys of nas search are data, experiment, limits, seed, space, trials; did you mean space?")  # fmt: skip  # noqa: E501
    assert compose("experiment=null").overrides == ()
    assert (
        error("experiment=big") == "experiment=big: there is no experiment 'big'; choose from small"
    )


def test_comments_are_found_by_key_also_over_two_lines():
    composition = compose("space=spanv2")
    assert (
        composition.comment("limits.params")
        == 'at most so many "numbers: #1" of the inference form'
    )
    assert composition.comment("space.head") == "kernel of the head"
    assert catalog.headline("experiment/small") == "a small run"
